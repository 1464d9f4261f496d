//! A whole nf_tables table of ours as data, and the edits that lead from what is there to what should be.
//!
//! [`Change`](crate::Change)s are about single objects that attachments own or share; a table whose rules follow from many objects at once
//! is better compared as a whole. All edits of one comparison are meant for one batch.
//!
//! Base chains stay in place as long as their entry is the same: a packet that is between a new base chain and the old one while a batch
//! takes effect would be seen by neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Family, FwBase, FwExpr, FwTable, IntervalSet};

mod edits;

/// A table with everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwRuleset {
    /// Which table.
    pub table: FwTable,
    /// Its named sets.
    pub sets: BTreeMap<String, FwSet>,
    /// Its chains.
    pub chains: BTreeMap<String, FwRules>,
}

/// A chain's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwRules {
    /// Where packets enter it; absent for a chain that is only jumped to.
    pub base: Option<FwBase>,
    /// Its rules, in order.
    pub rules: Vec<FwBody>,
}

/// A rule without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwBody {
    /// Matches and the verdict, in order.
    pub exprs: Vec<FwExpr>,
    /// Text kept with the rule (at most 128 bytes).
    pub comment: String,
}

/// What a set holds. Its kind is the variant, for addresses with the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FwSet {
    /// Names of links.
    Links(BTreeSet<String>),
    /// Single addresses of one family. Shared, because many tables may hold the same.
    Addresses(Family, Arc<BTreeSet<IpAddr>>),
    /// Addresses of one family as intervals that neither overlap nor touch.
    Intervals(IntervalSet),
}

impl FwSet {
    /// Whether both can be the content of one and the same set.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Links(_), Self::Links(_)) => true,
            (Self::Addresses(a, _), Self::Addresses(b, _)) => a == b,
            (Self::Intervals(a), Self::Intervals(b)) => a.family() == b.family(),
            _ => false,
        }
    }

    /// The same kind with nothing in it.
    #[must_use]
    pub fn emptied(&self) -> Self {
        match self {
            Self::Links(_) => Self::Links(BTreeSet::new()),
            Self::Addresses(family, _) => Self::Addresses(*family, Arc::default()),
            Self::Intervals(set) => Self::Intervals(IntervalSet::empty(set.family())),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Links(names) => names.len(),
            Self::Addresses(_, addresses) => addresses.len(),
            Self::Intervals(set) => set.ranges().count(),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Links(names) => names.is_empty(),
            Self::Addresses(_, addresses) => addresses.is_empty(),
            Self::Intervals(set) => set.is_empty(),
        }
    }

    /// Whether an address is in it. Sets of names hold none.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match self {
            Self::Links(_) => false,
            Self::Addresses(_, addresses) => addresses.contains(&ip),
            Self::Intervals(set) => set.contains(ip),
        }
    }
}

/// The objects of a table by their names, as far as they are read from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwInventory {
    /// Chains and their entries; an entry that we could not have made is absent like that of a plain chain.
    pub chains: BTreeMap<String, Option<FwBase>>,
    /// Names of the sets.
    pub sets: BTreeSet<String>,
}

/// One step of a batch about one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FwEdit {
    /// Make the table.
    MakeTable,
    /// Remove the table with everything in it.
    RemoveTable,
    /// Make a chain.
    MakeChain {
        /// Its name.
        chain: String,
        /// Its entry.
        base: Option<FwBase>,
    },
    /// Remove all rules of a chain.
    EmptyChain(String),
    /// Remove a chain without rules, to which nothing leads any more.
    RemoveChain(String),
    /// Make a set of the kind of `content`, and fill it.
    MakeSet {
        /// Its name.
        set: String,
        /// Kind and elements.
        content: FwSet,
    },
    /// Remove a set that no rule uses any more.
    RemoveSet(String),
    /// Put elements into a set.
    AddElements {
        /// The set.
        set: String,
        /// Elements that are not in it yet.
        elements: FwSet,
    },
    /// Take elements out of a set.
    RemoveElements {
        /// The set.
        set: String,
        /// Elements that are in it.
        elements: FwSet,
    },
    /// Append a rule to a chain.
    AddRule {
        /// The chain.
        chain: String,
        /// The rule.
        body: FwBody,
    },
}

impl fmt::Display for FwEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeTable => f.write_str("make the table"),
            Self::RemoveTable => f.write_str("remove the table"),
            Self::MakeChain { chain, .. } => write!(f, "make chain {chain}"),
            Self::EmptyChain(chain) => write!(f, "empty chain {chain}"),
            Self::RemoveChain(chain) => write!(f, "remove chain {chain}"),
            Self::MakeSet { set, content } => write!(f, "make set {set} of {} elements", content.len()),
            Self::RemoveSet(set) => write!(f, "remove set {set}"),
            Self::AddElements { set, elements } => write!(f, "add {} elements to set {set}", elements.len()),
            Self::RemoveElements { set, elements } => {
                write!(f, "remove {} elements from set {set}", elements.len())
            }
            Self::AddRule { chain, body } => write!(f, "add rule {:?} to chain {chain}", body.comment),
        }
    }
}
