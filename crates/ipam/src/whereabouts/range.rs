//! Ranges as configurations write them (spec/whereabouts.md 2 and 4).

use std::net::IpAddr;

use polynic_net::{Family, IntervalSet, IpNet, IpRange, ip_from_u128, ip_to_u128};

/// A range as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeText {
    /// `10.0.0.0/24`, or `10.0.0.5-10.0.0.9/24`.
    pub range: String,
    /// The first address to hand out; empty: the range's.
    pub start: String,
    /// The last address to hand out; empty: the range's.
    pub end: String,
    /// Prefixes or single addresses that are not handed out.
    pub exclude: Vec<String>,
}

/// A range that can be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The prefix without host bits.
    pub net: IpNet,
    /// The addresses to hand out.
    free: IntervalSet,
}

/// Why a range cannot be handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It is neither a prefix nor `first-last/length`.
    #[error("invalid CIDR {0:?}")]
    Syntax(String),
    /// The first address of `first-last/length` is outside of the prefix.
    #[error("invalid range {0:?}: the first address is not in the prefix of the last")]
    FirstOutside(String),
    /// Only network and broadcast address would be left, or less.
    #[error(
        "range {0} is too small: prefixes longer than two bits below the address length are not supported"
    )]
    TooSmall(IpNet),
    /// An entry of `exclude` is neither.
    #[error("invalid exclude {0:?}: neither a CIDR nor an IP")]
    Exclude(String),
    /// A start or end is no address.
    #[error("invalid IP {0:?}")]
    Address(String),
}

impl Range {
    /// Reads a range.
    ///
    /// # Errors
    /// [`RangeError`].
    pub fn read(text: &RangeText) -> Result<Self, RangeError> {
        let (net, dashed) = prefix(&text.range)?;
        let usable = usable(net)?;
        let address = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<IpAddr>().map(Some).map_err(|_| RangeError::Address(text.to_owned())),
        };
        let (start, end) = (address(&text.start)?, address(&text.end)?);
        // What lies outside is ignored without a word.
        let inside = |ip: Option<IpAddr>| ip.filter(|ip| usable.contains(*ip));
        let first = inside(start.or(dashed.map(|d| d.0))).unwrap_or(usable.first());
        let last = inside(end.or(dashed.map(|d| d.1))).unwrap_or(usable.last());
        let excluded: Vec<IpRange> =
            text.exclude.iter().map(|text| exclude(text)).collect::<Result<_, _>>()?;
        let family = Family::of(net.addr());
        let wanted: Vec<IpRange> = IpRange::new(first, last).into_iter().collect();
        let excluded = excluded.iter().filter(|range| range.family() == family);
        let free = IntervalSet::of_ranges(family, &wanted);
        let free = free.difference(&IntervalSet::of_ranges(family, excluded));
        Ok(Self { net, free })
    }

    /// The part of the range that is a node's slice. Addresses keep the prefix of the whole range.
    ///
    /// # Errors
    /// The slice is no prefix, or too small.
    pub fn slice(&self, slice: &str) -> Result<Self, RangeError> {
        let (net, _) = prefix(slice)?;
        let usable = usable(net)?;
        let part = IntervalSet::of_ranges(self.free.family(), std::iter::once(&usable));
        Ok(Self { net, free: self.free.intersection(&part) })
    }

    /// The addresses to hand out.
    pub fn free(&self) -> &IntervalSet {
        &self.free
    }

    /// The key of an address in the pool's allocations.
    pub fn offset(&self, ip: IpAddr) -> String {
        ip_to_u128(ip).wrapping_sub(ip_to_u128(self.net.network())).to_string()
    }

    /// The address of a key; none if it is no number or leads out of the range.
    pub fn address(&self, offset: &str) -> Option<IpAddr> {
        let distance: u128 = offset.parse().ok()?;
        let ip =
            ip_from_u128(Family::of(self.net.addr()), ip_to_u128(self.net.network()).checked_add(distance)?);
        self.net.contains(&ip).then_some(ip)
    }
}

/// The prefix of a range, without host bits.
pub(super) fn net(text: &str) -> Result<IpNet, RangeError> {
    prefix(text).map(|(net, _)| net)
}

/// The prefix, and first and last address of the dashed form.
fn prefix(text: &str) -> Result<(IpNet, Option<(IpAddr, IpAddr)>), RangeError> {
    let syntax = || RangeError::Syntax(text.to_owned());
    let cidr = |text: &str| text.trim().parse::<IpNet>().map_err(|_| syntax());
    let Some((first, last)) = text.split_once('-') else { return Ok((cidr(text)?.trunc(), None)) };
    let first: IpAddr = first.trim().parse().map_err(|_| syntax())?;
    let last = cidr(last)?;
    let net = last.trunc();
    if !net.contains(&first) {
        return Err(RangeError::FirstOutside(text.to_owned()));
    }
    Ok((net, Some((first, last.addr()))))
}

/// Everything but the network and the broadcast address, of both families.
fn usable(net: IpNet) -> Result<IpRange, RangeError> {
    let family = Family::of(net.addr());
    if net.max_prefix_len() - net.prefix_len() < 2 {
        return Err(RangeError::TooSmall(net));
    }
    let (first, last) = (ip_to_u128(net.network()) + 1, ip_to_u128(net.broadcast()) - 1);
    IpRange::new(ip_from_u128(family, first), ip_from_u128(family, last))
        .map_err(|_| RangeError::TooSmall(net))
}

fn exclude(text: &str) -> Result<IpRange, RangeError> {
    let invalid = || RangeError::Exclude(text.to_owned());
    let net: IpNet = match text.parse::<IpAddr>() {
        Ok(ip) => ip.into(),
        Err(_) => text.parse().map_err(|_| invalid())?,
    };
    IpRange::new(net.network(), net.broadcast()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(range: &str, start: &str, end: &str, exclude: &[&str]) -> Result<(String, Vec<String>), String> {
        let exclude = exclude.iter().map(|e| (*e).to_owned()).collect();
        let text = RangeText { range: range.into(), start: start.into(), end: end.into(), exclude };
        let read = Range::read(&text).map_err(|e| e.to_string())?;
        Ok((read.net.to_string(), read.free().to_texts()))
    }

    #[test]
    fn network_and_broadcast_address_are_kept_back() {
        let expected = ("10.20.0.0/24".to_owned(), vec!["10.20.0.1-10.20.0.254".to_owned()]);
        assert_eq!(read("10.20.0.7/24", "", "", &[]), Ok(expected));
        let (net, free) = read("fd00:20::/64", "", "", &[]).unwrap();
        assert_eq!((net.as_str(), free.len()), ("fd00:20::/64", 1));
        assert!(read("10.0.0.0/31", "", "", &[]).unwrap_err().contains("too small"));
        assert!(read("fd00::/127", "", "", &[]).unwrap_err().contains("too small"));
    }

    #[test]
    fn the_dashed_form_and_the_keys_bound_the_range_and_outsiders_are_ignored() {
        let free = |range: &str, start: &str, end: &str| read(range, start, end, &[]).unwrap().1.concat();
        assert_eq!(free("10.0.0.5-10.0.0.9/24", "", ""), "10.0.0.5-10.0.0.9");
        assert_eq!(free("10.0.0.0/24", "10.0.0.5", "10.0.0.9"), "10.0.0.5-10.0.0.9");
        assert_eq!(free("10.0.0.0/24", "10.9.0.5", "10.9.0.9"), "10.0.0.1-10.0.0.254");
        assert!(read("10.1.0.5-10.0.0.9/24", "", "", &[]).unwrap_err().contains("first address"));
        assert!(read("10.0.0.0", "", "", &[]).unwrap_err().contains("invalid CIDR"));
        assert!(read("10.0.0.0/24", "x", "", &[]).unwrap_err().contains("invalid IP"));
    }

    #[test]
    fn whole_blocks_and_single_addresses_are_excluded() {
        let free = read("10.0.0.0/28", "", "", &["10.0.0.0/30", "10.0.0.9", "fd00::/64"]).unwrap().1;
        assert_eq!(free, ["10.0.0.4-10.0.0.8", "10.0.0.10-10.0.0.14"]);
        assert!(read("10.0.0.0/28", "", "", &["some"]).unwrap_err().contains("invalid exclude"));
    }

    #[test]
    fn keys_are_distances_from_the_network_address() {
        let range = Range::read(&RangeText { range: "10.0.0.0/22".into(), ..RangeText::default() }).unwrap();
        let ip = "10.0.1.4".parse().unwrap();
        assert_eq!(range.offset(ip), "260");
        assert_eq!(range.address("260"), Some(ip));
        for wrong in ["-1", "x", "1024", "340282366920938463463374607431768211455"] {
            assert_eq!(range.address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_slice_has_its_own_ends() {
        let whole = Range::read(&RangeText { range: "10.0.0.0/24".into(), ..RangeText::default() }).unwrap();
        assert_eq!(whole.slice("10.0.0.64/26").unwrap().free().to_texts(), ["10.0.0.65-10.0.0.126"]);
    }
}
