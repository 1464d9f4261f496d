//! Firewall objects of nf_tables, in the few shapes that polynic writes.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, Mac};

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwFamily {
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
    /// Both.
    Inet,
    /// Packets crossing a bridge.
    Bridge,
}

/// A table, identified by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FwTable {
    /// Its family.
    pub family: FwFamily,
    /// Its name.
    pub name: String,
}

impl FwTable {
    /// A table by family and name.
    pub fn new(family: FwFamily, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }
}

/// A chain, identified by table and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwChain {
    /// The table that holds it.
    pub table: FwTable,
    /// Its name.
    pub name: String,
    /// Where packets enter it; absent for a chain that is only jumped to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<FwBase>,
}

/// The entry of a base chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwBase {
    /// Its type.
    pub kind: FwKind,
    /// Its hook.
    pub hook: FwHook,
    /// Its priority among the chains of the hook, lowest first.
    pub priority: i32,
}

/// Types of base chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwKind {
    /// Lets packets pass or not.
    Filter,
    /// Rewrites addresses of new connections.
    Nat,
    /// Routes again after a change of mark.
    Route,
}

/// Hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwHook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
}

/// A rule. Rules of ours are recognised by chain and comment, so every one carries a comment. (Of rules that iptables made, its
/// own comments are read, too.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwRule {
    /// The table.
    pub table: FwTable,
    /// The chain.
    pub chain: String,
    /// Where it is inserted.
    pub position: FwPosition,
    /// Matches and the verdict, in order.
    pub exprs: Vec<FwExpr>,
    /// Text kept with the rule (at most 128 bytes, as `nft` writes it).
    pub comment: String,
}

/// Where a rule enters its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwPosition {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// One match or statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FwExpr {
    /// Incoming link's name; a trailing `*` matches any rest.
    Iif(String),
    /// Outgoing link's name; a trailing `*` matches any rest.
    Oif(String),
    /// Incoming link's name is another one (or none).
    NotIif(String),
    /// Outgoing link's name is another one (or none).
    NotOif(String),
    /// Source address inside (or, negated, outside) a network. In an inet table this also matches the family.
    Src {
        /// The network.
        net: IpNet,
        /// Match packets outside it.
        not: bool,
    },
    /// Destination address inside (or, negated, outside) a network.
    Dst {
        /// The network.
        net: IpNet,
        /// Match packets outside it.
        not: bool,
    },
    /// Incoming link's name is in a set of names of the same table.
    IifIn(String),
    /// Outgoing link's name is in a set of names of the same table.
    OifIn(String),
    /// Source address is in a set of addresses of the same table. In an inet table this also matches the family.
    SrcIn {
        /// The set's name.
        set: String,
        /// The family of its addresses.
        family: Family,
    },
    /// Destination address is in a set of addresses of the same table. In an inet table this also matches the family.
    DstIn {
        /// The set's name.
        set: String,
        /// The family of its addresses.
        family: Family,
    },
    /// Ethernet source address.
    EtherSrc(Mac),
    /// No route back to the source through the link the packet came by (`fib saddr . iif oif missing`).
    NoReturnPath,
    /// The packet begins a connection (`ct state new`).
    NewConnection,
    /// The connection's destination was rewritten (`ct status dnat`).
    DestinationRewritten,
    /// The port that the connection's first packet was sent to, before any rewriting (`ct original proto-dst`).
    OriginalDstPort(u16),
    /// The packet belongs to a connection that is established, or is related to one: in the form in which iptables writes
    /// `-m conntrack --ctstate RELATED,ESTABLISHED` and can read it back. For chains that are shared with iptables.
    XtEstablished,
    /// The packet belongs to a connection that was answered, or to one that such a connection announced (`ct state
    /// established,related`).
    KnownConnection,
    /// The bits of `mask` in the connection's mark are those of `value`.
    ConnectionMark {
        /// The value.
        value: u32,
        /// The bits that count.
        mask: u32,
    },
    /// Make the bits of `mask` in the connection's mark those of `value`.
    SetConnectionMark {
        /// The value.
        value: u32,
        /// The bits that change.
        mask: u32,
    },
    /// Transport protocol by its number (IANA protocol numbers; 6 is TCP, 17 is UDP).
    Protocol(u8),
    /// Destination port; only after a match of a protocol that has ports.
    DstPort(u16),
    /// Destination port in a range, both ends included; only after a match of a protocol that has ports.
    DstPorts {
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
    /// An ICMP message (of IPv4) of a type in a range, both ends included.
    IcmpTypes {
        /// The lowest.
        first: u8,
        /// The highest.
        last: u8,
    },
    /// An ICMPv6 message of a type in a range, both ends included.
    Icmpv6Types {
        /// The lowest.
        first: u8,
        /// The highest.
        last: u8,
    },
    /// Destination address is one of this host's own.
    DstIsLocal,
    /// One packet in so many, at random; of one that is every packet. Not 0.
    OneIn(u32),
    /// The bits of `mask` in the packet's mark are those of `value`.
    Mark {
        /// The value.
        value: u32,
        /// The bits that count.
        mask: u32,
    },
    /// Make the bits of `mask` in the packet's mark those of `value`.
    SetMark {
        /// The value.
        value: u32,
        /// The bits that change.
        mask: u32,
    },
    /// Rewrite the destination to an address and port; only after a match of a protocol that has ports.
    Dnat(SocketAddr),
    /// Answer that nobody listens there (ICMP port unreachable).
    Reject,
    /// Rewrite the source to the address of the outgoing link.
    Masquerade,
    /// As [`FwExpr::Masquerade`], to a port chosen at random (`masquerade fully-random`): no two connections fight for one.
    MasqueradeRandom,
    /// The end of the rule.
    Verdict(FwVerdict),
}

/// Verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwVerdict {
    /// Let it pass.
    Accept,
    /// Throw it away.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Into another chain, and back.
    Jump(String),
    /// Into another chain, not back.
    Goto(String),
}

/// Any firewall object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FwObject {
    /// A table.
    Table(FwTable),
    /// A chain.
    Chain(FwChain),
    /// A rule.
    Rule(FwRule),
}

impl FwObject {
    /// The table that it is or lives in.
    pub fn table(&self) -> &FwTable {
        match self {
            Self::Table(table) => table,
            Self::Chain(chain) => &chain.table,
            Self::Rule(rule) => &rule.table,
        }
    }

    /// Whether both name the same kernel object, whatever its content: tables and chains by name, rules by chain and
    /// comment. (Rules that share a chain and a comment stand for each other: they come and go together.)
    pub fn same_identity(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Table(a), Self::Table(b)) => a == b,
            (Self::Chain(a), Self::Chain(b)) => a.table == b.table && a.name == b.name,
            (Self::Rule(a), Self::Rule(b)) => {
                a.table == b.table && a.chain == b.chain && a.comment == b.comment
            }
            _ => false,
        }
    }
}
