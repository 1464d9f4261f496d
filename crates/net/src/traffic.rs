//! Traffic control: queueing disciplines, classes and filters of a link, in the few shapes that polynic writes.
//!
//! A link has at most one discipline of ours at its root (handle `1:`) and one for what comes in (`ffff:`). They live and die with
//! the link.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::IfName;

/// Ticks of the kernel's scheduler clock in a microsecond, times 1000 (`/proc/net/psched`; the same since Linux 2.6.31).
const TICKS_PER_MILLISECOND: u64 = 15_625;
/// Older kernels keep times in nanoseconds of 32 bits, 64 to a tick.
const OLD_MAX_TICKS: u32 = u32::MAX / 64;

/// A bucket of tokens that fills at a rate and empties with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBucket {
    /// Bytes in a second. Not 0.
    pub rate: u64,
    /// How long the rate takes to fill the bucket, in the kernel's ticks (64 ns).
    pub buffer: u32,
    /// How many bytes may wait.
    pub limit: u32,
}

impl TokenBucket {
    /// The bucket of a rate (bytes in a second) and a burst (bytes), with the limit of the replaced plugin: the burst, and what goes out
    /// in 25 ms (spec/plugins.md 3.3).
    pub fn new(rate: u64, burst: u32) -> Self {
        // In the steps of the replaced plugin, so that the numbers are its own to the last digit.
        let microseconds = (u64::from(burst) * 1_000_000).checked_div(rate).unwrap_or(u64::MAX);
        let microseconds = u64::from(u32::try_from(microseconds).unwrap_or(u32::MAX));
        let ticks = microseconds * TICKS_PER_MILLISECOND / 1000;
        let waiting = u128::from(rate) * 25 / 1000 + u128::from(burst);
        Self {
            rate,
            buffer: u32::try_from(ticks).unwrap_or(u32::MAX),
            limit: u32::try_from(waiting).unwrap_or(u32::MAX),
        }
    }

    /// Whether the kernel shows this bucket as `seen`.
    pub fn is_shown_as(&self, seen: &Self) -> bool {
        let (rate, limit) = (self.rate == seen.rate, self.limit == seen.limit);
        rate && limit && [self.buffer, self.buffer.min(OLD_MAX_TICKS)].contains(&seen.buffer)
    }
}

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Qdisc {
    /// At the root: everything through one bucket.
    Tbf(TokenBucket),
    /// At the root: buckets of classes.
    Htb {
        /// The class of what no filter claims; 0: it is sent at once.
        default: u16,
    },
    /// For what comes in. It only carries filters.
    Ingress,
}

impl Qdisc {
    /// Where it sits.
    pub fn hook(&self) -> TrafficHook {
        match self {
            Self::Tbf(_) | Self::Htb { .. } => TrafficHook::Root,
            Self::Ingress => TrafficHook::Ingress,
        }
    }
}

/// The two places of a link where disciplines sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficHook {
    /// Before packets leave by the link.
    Root,
    /// After packets came by it.
    Ingress,
}

/// Which packets a filter claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficMatch {
    /// All of them.
    All,
    /// Those from a network.
    From(IpNet),
    /// Those to a network.
    To(IpNet),
}

/// What a filter does with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficAction {
    /// They leave by another link instead.
    Redirect(IfName),
    /// They belong to a class; 0: they are sent at once.
    Class(u16),
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficFilter {
    /// The discipline that asks it.
    pub hook: TrafficHook,
    /// When it is asked, lowest first. No two filters of a discipline share one.
    pub priority: u16,
    /// Which packets it claims.
    pub matches: TrafficMatch,
    /// What happens to them.
    pub action: TrafficAction,
}

/// What belongs to a link's traffic control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficObject {
    /// A discipline.
    Qdisc(Qdisc),
    /// A class of the root's [`Qdisc::Htb`].
    Class {
        /// Its number. Not 0.
        id: u16,
        /// What it may send, and how much may wait.
        bucket: TokenBucket,
    },
    /// A filter.
    Filter(TrafficFilter),
}

/// A part of a link's traffic control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The link.
    pub link: IfName,
    /// The part.
    pub object: TrafficObject,
}

/// What identifies a part on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficKey {
    /// The discipline at a hook.
    Qdisc(TrafficHook),
    /// The class with a number.
    Class(u16),
    /// The filter of a discipline with a priority.
    Filter(TrafficHook, u16),
}

impl TrafficObject {
    /// What identifies it.
    pub fn key(&self) -> TrafficKey {
        match self {
            Self::Qdisc(qdisc) => TrafficKey::Qdisc(qdisc.hook()),
            Self::Class { id, .. } => TrafficKey::Class(*id),
            Self::Filter(filter) => TrafficKey::Filter(filter.hook, filter.priority),
        }
    }
}

/// A part of a link's traffic control as the kernel shows it: of buckets the numbers, of all else that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficFact {
    /// The link.
    pub link: IfName,
    /// Which part.
    pub key: TrafficKey,
    /// The numbers of a [`Qdisc::Tbf`].
    pub bucket: Option<TokenBucket>,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            TrafficObject::Qdisc(Qdisc::Tbf(_)) => f.write_str("tbf")?,
            TrafficObject::Qdisc(Qdisc::Htb { .. }) => f.write_str("htb")?,
            TrafficObject::Qdisc(Qdisc::Ingress) => f.write_str("ingress")?,
            TrafficObject::Class { id, .. } => write!(f, "class {id}")?,
            TrafficObject::Filter(filter) => write!(f, "filter {}", filter.priority)?,
        }
        write!(f, " on {}", self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the replaced plugin, as `tc -j qdisc` showed them.
    #[test]
    fn a_bucket_has_the_numbers_of_the_replaced_plugin() {
        let bucket = TokenBucket::new(1_000_000 / 8, 80_000 / 8);
        assert_eq!(bucket, TokenBucket { rate: 125_000, buffer: 1_250_000, limit: 3125 + 10_000 });
    }

    #[test]
    fn numbers_that_do_not_fit_are_the_largest_that_do() {
        let bucket = TokenBucket::new(1, u32::MAX);
        assert_eq!((bucket.buffer, bucket.limit), (u32::MAX, u32::MAX));
        assert!(bucket.is_shown_as(&TokenBucket { buffer: OLD_MAX_TICKS, ..bucket }), "by an old kernel");
        assert!(!bucket.is_shown_as(&TokenBucket { buffer: 1, ..bucket }));
        assert_eq!(TokenBucket::new(u64::MAX, 1).limit, u32::MAX);
        assert_eq!(TokenBucket::new(0, 1).buffer, u32::MAX);
    }
}
