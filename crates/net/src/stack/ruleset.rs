//! The firewall as it is: every chain with its rules as the kernel's own operations on registers, whoever wrote them.
//!
//! [`crate::FwRule`] is what polynic writes. Here is what anybody wrote. Operations that are not understood stay as their name, so that
//! a reader can say what cannot be judged.

use crate::{FwBase, FwTable, FwVerdict};

/// All chains and sets of the families ip, ip6, inet and bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains.
    pub chains: Vec<SeenChain>,
    /// Sets and maps.
    pub sets: Vec<SeenSet>,
}

impl Ruleset {
    /// A chain by table and name.
    pub fn chain(&self, table: &FwTable, name: &str) -> Option<&SeenChain> {
        self.chains.iter().find(|chain| chain.table == *table && chain.name == name)
    }

    /// A set by table and name.
    pub fn set(&self, table: &FwTable, name: &str) -> Option<&SeenSet> {
        self.sets.iter().find(|set| set.table == *table && set.name == name)
    }
}

/// A chain with its rules in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenChain {
    /// Its table.
    pub table: FwTable,
    /// Its name.
    pub name: String,
    /// Where packets enter it; absent for one that is jumped to.
    pub base: Option<FwBase>,
    /// What passes all rules of a base chain is dropped.
    pub drops: bool,
    /// Rules.
    pub rules: Vec<SeenRule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRule {
    /// Its number in the kernel.
    pub handle: u64,
    /// Its comment, if it has one.
    pub comment: String,
    /// What it does, in order.
    pub ops: Vec<SeenOp>,
}

/// One operation. Registers are byte offsets into 64 bytes; values stand there as the kernel has them in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenOp {
    /// Loads bytes of a header: base 0 is the link's, 1 the network's, 2 the transport's.
    Payload {
        /// Which header.
        base: u32,
        /// First byte.
        offset: usize,
        /// Number of bytes.
        len: usize,
        /// Where to.
        to: usize,
    },
    /// Loads something about the packet (`enum nft_meta_keys`).
    Meta {
        /// What.
        key: u32,
        /// Where to.
        to: usize,
    },
    /// Sets something about the packet.
    SetMeta {
        /// What.
        key: u32,
        /// Where from.
        from: usize,
    },
    /// Loads something about the connection (`enum nft_ct_keys`).
    Ct {
        /// What.
        key: u32,
        /// Of the original direction (0) or of the reply (1), for keys that have directions.
        direction: Option<u8>,
        /// Where to.
        to: usize,
    },
    /// Sets something about the connection.
    SetCt {
        /// What.
        key: u32,
        /// Where from.
        from: usize,
    },
    /// Asks for a route (`enum nft_fib_attributes`).
    Fib {
        /// What is wanted: 1 the link, 2 its name, 3 the kind of address.
        result: u32,
        /// What is asked about.
        flags: u32,
        /// Where to.
        to: usize,
    },
    /// `to = from & mask ^ xor`.
    Bitwise {
        /// Where from.
        from: usize,
        /// Where to.
        to: usize,
        /// Mask.
        mask: Vec<u8>,
        /// What is flipped afterwards.
        xor: Vec<u8>,
    },
    /// Goes on only if the comparison holds: 0 equal, 1 not equal, 2 less, 3 less or equal, 4 greater, 5 greater or equal.
    Cmp {
        /// The operator.
        op: u32,
        /// Where from.
        from: usize,
        /// Compared with.
        value: Vec<u8>,
    },
    /// Goes on only if the value lies in a range, or (negated) outside.
    Range {
        /// Outside instead.
        not: bool,
        /// Where from.
        from: usize,
        /// First.
        first: Vec<u8>,
        /// Last.
        last: Vec<u8>,
    },
    /// Goes on only if the value is in a set (negated: is not); of a map, loads what it stands for.
    Lookup {
        /// The set.
        set: String,
        /// Where from.
        from: usize,
        /// Where to, of a map; 64 stands for the verdict.
        to: Option<usize>,
        /// Is not in it.
        not: bool,
    },
    /// Loads a constant.
    Immediate {
        /// Where to.
        to: usize,
        /// The value.
        value: Vec<u8>,
    },
    /// Ends the rule.
    Verdict(FwVerdict),
    /// Rewrites source or destination.
    Nat {
        /// The source, not the destination.
        source: bool,
        /// Where the address is.
        address: Option<usize>,
        /// Where the port is.
        port: Option<usize>,
    },
    /// Rewrites the source to the outgoing link's address.
    Masquerade,
    /// Rewrites the destination to this host.
    Redirect,
    /// Throws the packet away and says so.
    Reject,
    /// A number by chance or in turn, below a modulus.
    Number {
        /// The modulus.
        modulus: u32,
        /// Where to.
        to: usize,
    },
    /// Changes nothing about where the packet goes: a counter, a log line.
    Harmless,
    /// Anything else, by name; whether the rule goes on cannot be said.
    Unknown(String),
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSet {
    /// Its table.
    pub table: FwTable,
    /// Its name.
    pub name: String,
    /// Length of a key in bytes.
    pub key_len: usize,
    /// Lengths of the parts of a key in bytes, each padded to four; empty for a key of one part.
    pub parts: Vec<usize>,
    /// Elements.
    pub elements: Vec<Element>,
}

/// An element of a set: keys from `first` to `last`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// First key; empty for the one that stands for every other key.
    pub first: Vec<u8>,
    /// Last key.
    pub last: Vec<u8>,
    /// What it stands for, in a map of data.
    pub data: Vec<u8>,
    /// What it stands for, in a map of verdicts.
    pub verdict: Option<FwVerdict>,
}

/// The register that holds a verdict, in [`SeenOp::Lookup`].
pub const VERDICT_REGISTER: usize = 64;
