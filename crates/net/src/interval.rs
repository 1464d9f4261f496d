//! Sets of addresses of one family as sorted intervals: every operation costs what the number of intervals costs,
//! whether they span a /28 or a /48.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{Family, IpRange, RangeError, ip_from_u128, ip_to_u128};

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeTextError {
    /// One of its ends is no address.
    #[error("{0:?} is neither an address nor a range A-B of addresses (no spaces, no CIDR notation)")]
    Syntax(String),
    /// The ends do not span a range.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl FromStr for IpRange {
    type Err = RangeTextError;

    /// Reads `A` or `A-B` (spec/spiderpool.md section 3).
    fn from_str(text: &str) -> Result<Self, RangeTextError> {
        let address = |end: &str| end.parse().map_err(|_| RangeTextError::Syntax(text.to_owned()));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self::new(address(first)?, address(last)?)?)
    }
}

/// A set of addresses of one family: disjoint intervals in ascending order that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntervalSet {
    family: Family,
    /// First and last number of each interval.
    spans: Vec<(u128, u128)>,
}

impl IntervalSet {
    /// The set without addresses.
    pub fn empty(family: Family) -> Self {
        Self { family, spans: Vec::new() }
    }

    /// All addresses of the ranges that belong to `family`; others are left out.
    pub fn of_ranges<'a>(family: Family, ranges: impl IntoIterator<Item = &'a IpRange>) -> Self {
        let own = ranges.into_iter().filter(|range| range.family() == family);
        Self::of_spans(
            family,
            own.map(|range| (ip_to_u128(range.first()), ip_to_u128(range.last()))).collect(),
        )
    }

    /// These addresses, as far as they belong to `family`.
    pub fn of_addresses(family: Family, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let own = addresses.into_iter().filter(|ip| Family::of(*ip) == family);
        Self::of_spans(family, own.map(|ip| (ip_to_u128(ip), ip_to_u128(ip))).collect())
    }

    fn of_spans(family: Family, mut spans: Vec<(u128, u128)>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { family, spans: merged }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it holds no address.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many addresses it holds; the whole of IPv6 counts as one less.
    pub fn count(&self) -> u128 {
        self.spans
            .iter()
            .fold(0, |sum: u128, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    /// Its lowest address.
    pub fn first(&self) -> Option<IpAddr> {
        self.spans.first().map(|(first, _)| ip_from_u128(self.family, *first))
    }

    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let n = ip_to_u128(ip);
        let at = self.spans.partition_point(|(first, _)| *first <= n);
        Family::of(ip) == self.family && at > 0 && n <= self.spans[at - 1].1
    }

    /// Its intervals in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = IpRange> + '_ {
        let address = |n| ip_from_u128(self.family, n);
        self.spans.iter().filter_map(move |(first, last)| IpRange::new(address(*first), address(*last)).ok())
    }

    /// What is in either. Sets of different families have nothing to add to each other: the first stays.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.family != other.family {
            return self.clone();
        }
        Self::of_spans(self.family, [self.spans.as_slice(), &other.spans].concat())
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::empty(self.family);
        if self.family != other.family {
            return both;
        }
        let (mut a, mut b) = (self.spans.iter().peekable(), other.spans.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (first, last) = (x.0.max(y.0), x.1.min(y.1));
            if first <= last {
                both.spans.push((first, last));
            }
            if x.1 <= y.1 {
                a.next()
            } else {
                b.next()
            };
        }
        both
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if self.family != other.family {
            return self.clone();
        }
        let mut left = Self::empty(self.family);
        let mut holes = other.spans.as_slice();
        for (first, last) in &self.spans {
            while holes.first().is_some_and(|hole| hole.1 < *first) {
                holes = &holes[1..];
            }
            left.add_without(*first, *last, holes);
        }
        left
    }

    /// Adds an interval less `holes`, the first of which does not end before it.
    fn add_without(&mut self, mut first: u128, last: u128, holes: &[(u128, u128)]) {
        for hole in holes.iter().take_while(|hole| hole.0 <= last) {
            if hole.0 > first {
                self.spans.push((first, hole.0 - 1));
            }
            if hole.1 >= last {
                return;
            }
            first = first.max(hole.1 + 1);
        }
        self.spans.push((first, last));
    }

    /// Whether every address of it is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.is_empty() || (self.family == other.family && self.difference(other).is_empty())
    }

    /// Its `n` lowest addresses, or all if it has fewer.
    #[must_use]
    pub fn lowest(&self, n: u128) -> Self {
        let mut taken = Self::empty(self.family);
        let mut left = n;
        for (first, last) in &self.spans {
            if left == 0 {
                break;
            }
            let end = (*last).min(first.saturating_add(left - 1));
            taken.spans.push((*first, end));
            left -= (end - first).saturating_add(1).min(left);
        }
        taken
    }

    /// Takes the lowest address out of it.
    pub fn pop_first(&mut self) -> Option<IpAddr> {
        let span = self.spans.first_mut()?;
        let n = span.0;
        if span.0 < span.1 {
            span.0 += 1;
        } else {
            self.spans.remove(0);
        }
        Some(ip_from_u128(self.family, n))
    }

    /// The shortest list of `A` and `A-B` that says the same, as webhooks write it (spec/spiderpool.md 3.1).
    pub fn to_texts(&self) -> Vec<String> {
        let text = |range: IpRange| match range.first() == range.last() {
            true => range.first().to_string(),
            false => range.to_string(),
        };
        self.ranges().map(text).collect()
    }
}

impl fmt::Display for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_texts().join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn set(texts: &[&str]) -> IntervalSet {
        let ranges: Vec<IpRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let family = ranges.first().map_or(Family::V4, IpRange::family);
        IntervalSet::of_ranges(family, &ranges)
    }

    #[test]
    fn ranges_are_read_as_the_webhooks_read_them() {
        assert_eq!("10.0.0.1".parse::<IpRange>().unwrap().to_string(), "10.0.0.1-10.0.0.1");
        assert!("10.0.0.1-10.0.0.9".parse::<IpRange>().is_ok());
        for bad in
            ["", "10.0.0.0/24", "10.0.0.1 - 10.0.0.2", "10.0.0.1-", "-", "10.0.0.9-10.0.0.1", "10.0.0.1-::1"]
        {
            assert!(bad.parse::<IpRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn touching_ranges_coalesce() {
        assert_eq!(
            set(&["10.0.0.4-10.0.0.6", "10.0.0.1-10.0.0.3", "10.0.0.9"]).to_texts(),
            ["10.0.0.1-10.0.0.6", "10.0.0.9"]
        );
    }

    #[test]
    fn the_whole_of_ipv6_is_a_set_like_any_other() {
        let all = set(&["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
        assert_eq!(all.count(), u128::MAX);
        let mut rest = all.difference(&set(&["::"]));
        assert_eq!(rest.pop_first(), Some("::1".parse().unwrap()));
        assert_eq!(all.difference(&all).count(), 0);
        assert_eq!(all.lowest(2).to_texts(), ["::-::1"]);
    }

    #[test]
    fn families_do_not_mix() {
        let (v4, v6) = (set(&["0.0.0.1"]), set(&["::1"]));
        assert!(!v4.contains("::1".parse().unwrap()));
        assert_eq!(v4.difference(&v6), v4);
        assert!(v4.intersection(&v6).is_empty());
        assert!(!v4.is_subset(&v6));
    }

    fn small() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0u32..60, 0..30)
    }

    fn of(numbers: &BTreeSet<u32>) -> IntervalSet {
        IntervalSet::of_addresses(
            Family::V4,
            numbers.iter().map(|n| ip_from_u128(Family::V4, u128::from(*n))),
        )
    }

    proptest! {
        #[test]
        fn the_set_operations_are_those_of_plain_sets(a in small(), b in small(), n in 0usize..40) {
            let (x, y) = (of(&a), of(&b));
            prop_assert_eq!(x.union(&y), of(&a.union(&b).copied().collect()));
            prop_assert_eq!(x.intersection(&y), of(&a.intersection(&b).copied().collect()));
            prop_assert_eq!(x.difference(&y), of(&a.difference(&b).copied().collect()));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.count(), a.len() as u128);
            prop_assert_eq!(x.lowest(n as u128), of(&a.iter().take(n).copied().collect()));
            for probe in 0..64u32 {
                prop_assert_eq!(x.contains(ip_from_u128(Family::V4, probe.into())), a.contains(&probe));
            }
        }

        #[test]
        fn texts_read_back_as_the_same_set(a in small()) {
            let x = of(&a);
            let texts = x.to_texts();
            prop_assert_eq!(set(&texts.iter().map(String::as_str).collect::<Vec<_>>()), x);
        }
    }
}
