//! Ranges of addresses as arithmetic on 128-bit numbers: nothing here ever enumerates a range.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::Family;

/// The number of an address within its family.
pub fn ip_to_u128(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address with that number; numbers beyond IPv4 are cut to its 32 bits.
pub fn ip_from_u128(family: Family, n: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from((n & u128::from(u32::MAX)) as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(n)),
    }
}

/// All addresses from `first` to `last`, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why two addresses span no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// One is IPv4, the other IPv6.
    #[error("range {0}-{1} mixes address families")]
    Families(IpAddr, IpAddr),
    /// The last comes before the first.
    #[error("range {0}-{1} ends before it starts")]
    Order(IpAddr, IpAddr),
}

impl IpRange {
    /// The range between two addresses.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::Families(first, last));
        }
        if first > last {
            return Err(RangeError::Order(first, last));
        }
        Ok(Self { first, last })
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether `ip` lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family() && self.first <= ip && ip <= self.last
    }

    /// Whether any address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The address after `ip` inside the range, if there is one.
    pub fn after(&self, ip: IpAddr) -> Option<IpAddr> {
        (self.contains(ip) && ip != self.last).then(|| ip_from_u128(self.family(), ip_to_u128(ip) + 1))
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(a: &str, b: &str) -> Result<IpRange, RangeError> {
        IpRange::new(a.parse().unwrap(), b.parse().unwrap())
    }

    #[test]
    fn a_range_has_one_family_and_an_order() {
        assert!(matches!(range("10.0.0.1", "::1"), Err(RangeError::Families(..))));
        assert!(matches!(range("10.0.0.2", "10.0.0.1"), Err(RangeError::Order(..))));
        assert!(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").is_ok());
    }

    #[test]
    fn the_last_address_has_none_after_it() {
        let r = range("10.0.0.255", "10.0.1.0").unwrap();
        assert_eq!(r.after(r.first()), Some(r.last()));
        assert_eq!(r.after(r.last()), None);
        assert_eq!(r.after("10.0.2.0".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_are_one(n: u128, m: u32) {
            prop_assert_eq!(ip_to_u128(ip_from_u128(Family::V6, n)), n);
            prop_assert_eq!(ip_to_u128(ip_from_u128(Family::V4, m.into())), u128::from(m));
        }

        #[test]
        fn overlap_is_mutual_and_means_a_common_end(a: u32, b: u32, c: u32, d: u32) {
            let make = |x: u32, y: u32| IpRange::new(
                ip_from_u128(Family::V4, x.min(y).into()), ip_from_u128(Family::V4, x.max(y).into())).unwrap();
            let (p, q) = (make(a, b), make(c, d));
            prop_assert_eq!(p.overlaps(&q), q.overlaps(&p));
            prop_assert_eq!(p.overlaps(&q), p.contains(q.first()) || q.contains(p.first()));
        }
    }
}
