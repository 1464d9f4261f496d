//! What pools, subnets and reservations say about addresses: families, prefixes, ranges, gateways, routes.

use std::net::IpAddr;

use polynic_net::{Family, IntervalSet, IpNet, IpRange};

use super::{FieldError, Rules};
use crate::spider::Route;

/// The family that an `ipVersion` means.
pub fn family_of_version(version: i64) -> Option<Family> {
    match version {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => None,
    }
}

/// The addresses of `ips` that are not in `exclude`. Texts that are no ranges of the family count as nothing.
pub fn effective_set(family: Family, ips: &[String], exclude: &[String]) -> IntervalSet {
    let set = |texts: &[String]| {
        let ranges: Vec<IpRange> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        IntervalSet::of_ranges(family, &ranges)
    };
    set(ips).difference(&set(exclude))
}

/// The `ipVersion` of a prefix or of the first address of a range.
pub(super) fn version_of(text: &str) -> Option<i64> {
    let start = text.split(['/', '-']).next().unwrap_or_default();
    let ip: IpAddr = start.parse().ok()?;
    Some(if ip.is_ipv4() { 4 } else { 6 })
}

/// Sorts ranges and joins them to the fewest, if there are several and all are right.
pub(super) fn coalesce(version: Option<i64>, texts: &mut Vec<String>) {
    let Some(family) = version.and_then(family_of_version) else { return };
    if texts.len() < 2 {
        return;
    }
    let ranges: Result<Vec<IpRange>, _> = texts.iter().map(|text| text.parse()).collect();
    if let Ok(ranges) = ranges
        && ranges.iter().all(|range| range.family() == family)
    {
        *texts = IntervalSet::of_ranges(family, &ranges).to_texts();
    }
}

/// Whether the version is known and in use.
pub(super) fn check_version(version: Option<i64>, rules: Rules) -> Result<Family, FieldError> {
    const FIELD: &str = "spec.ipVersion";
    let Some(version) = version else {
        return Err(FieldError::invalid(FIELD, (), "is not given and cannot be derived"));
    };
    let Some(family) = family_of_version(version) else {
        return Err(FieldError::invalid(FIELD, version, "must be 4 or 6"));
    };
    let (in_use, name) = match family {
        Family::V4 => (rules.ipv4, "IPv4"),
        Family::V6 => (rules.ipv6, "IPv6"),
    };
    if in_use { Ok(family) } else { Err(FieldError::forbidden(FIELD, format!("{name} is disabled"))) }
}

/// Whether the subnet is a prefix of the family, without host bits and in its usual spelling.
pub(super) fn check_subnet(family: Family, text: &str) -> Result<IpNet, FieldError> {
    const FIELD: &str = "spec.subnet";
    let net: IpNet = text.parse().map_err(|_| FieldError::invalid(FIELD, text, "is not a CIDR"))?;
    if Family::of(net.addr()) != family {
        return Err(FieldError::invalid(FIELD, text, format!("is not of IP version {}", number(family))));
    }
    let canonical = net.trunc();
    if canonical.to_string() != text {
        return Err(FieldError::invalid(FIELD, text, format!("must be written as {canonical}")));
    }
    Ok(net)
}

/// The ranges of a list, all of the family and inside of the subnet if there is one.
pub(super) fn check_ranges(
    family: Family,
    within: Option<&IpNet>,
    field: &str,
    texts: &[String],
) -> Result<Vec<IpRange>, Vec<FieldError>> {
    let (mut ranges, mut errors) = (Vec::new(), Vec::new());
    for (at, text) in texts.iter().enumerate() {
        match check_range(family, within, text) {
            Ok(range) => ranges.push(range),
            Err(why) => errors.push(FieldError::invalid(format!("{field}[{at}]"), text, why)),
        }
    }
    if errors.is_empty() { Ok(ranges) } else { Err(errors) }
}

fn check_range(family: Family, within: Option<&IpNet>, text: &str) -> Result<IpRange, String> {
    let range: IpRange = text.parse().map_err(|why: polynic_net::RangeTextError| why.to_string())?;
    if range.family() != family {
        return Err(format!("is not of IP version {}", number(family)));
    }
    match within {
        Some(net) if !(net.contains(&range.first()) && net.contains(&range.last())) => {
            Err(format!("is not inside of subnet {net}"))
        }
        _ => Ok(range),
    }
}

/// The gateway lies in the subnet, and nobody else is given it.
pub(super) fn check_gateway(
    net: &IpNet,
    gateway: Option<&str>,
    handed_out: Option<&IntervalSet>,
) -> Vec<FieldError> {
    const FIELD: &str = "spec.gateway";
    let Some(text) = gateway else { return Vec::new() };
    let Ok(ip) = text.parse::<IpAddr>() else {
        return vec![FieldError::invalid(FIELD, text, "is not an address")];
    };
    if !net.contains(&ip) {
        return vec![FieldError::invalid(FIELD, text, format!("is not inside of subnet {net}"))];
    }
    match handed_out {
        Some(set) if set.contains(ip) => {
            vec![FieldError::invalid(FIELD, text, "is one of spec.ips: list it in spec.excludeIPs")]
        }
        _ => Vec::new(),
    }
}

/// Routes of the family, none of them the default, each destination once, gateways in the subnet.
pub(super) fn check_routes(net: &IpNet, routes: &[Route]) -> Vec<FieldError> {
    let mut seen = Vec::new();
    let mut errors = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        let field = |part: &str| format!("spec.routes[{at}].{part}");
        match check_destination(net, &route.dst, &seen) {
            Ok(dst) => seen.push(dst),
            Err(why) => errors.push(FieldError::invalid(field("dst"), &route.dst, why)),
        }
        match route.gw.parse::<IpAddr>() {
            Ok(gw) if net.contains(&gw) => {}
            Ok(_) => {
                errors.push(FieldError::invalid(
                    field("gw"),
                    &route.gw,
                    format!("is not inside of subnet {net}"),
                ));
            }
            Err(_) => errors.push(FieldError::invalid(field("gw"), &route.gw, "is not an address")),
        }
    }
    errors
}

fn check_destination(net: &IpNet, text: &str, seen: &[IpNet]) -> Result<IpNet, String> {
    let dst: IpNet = text.parse().map_err(|_| "is not a CIDR".to_owned())?;
    if Family::of(dst.addr()) != Family::of(net.addr()) {
        return Err(format!("is not of IP version {}", number(Family::of(net.addr()))));
    }
    if dst.prefix_len() == 0 {
        return Err("is the default route, which follows from spec.gateway".to_owned());
    }
    let dst = dst.trunc();
    if seen.contains(&dst) { Err("is listed twice".to_owned()) } else { Ok(dst) }
}

/// Two prefixes have addresses in common.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The first two ranges of a list that have addresses in common.
pub(super) fn overlapping(ranges: &[IpRange]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|at| ranges[*at].first());
    order.windows(2).find(|pair| ranges[pair[0]].overlaps(&ranges[pair[1]])).map(|pair| (pair[0], pair[1]))
}

pub(super) fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// Refuses a change of a field that never changes; what was absent may become known.
pub(super) fn check_immutable<T: PartialEq + serde::Serialize>(
    field: &str,
    old: Option<&T>,
    new: Option<&T>,
) -> Option<FieldError> {
    let is_change = old.is_some() && old != new;
    is_change.then(|| FieldError::forbidden(field, "cannot be changed"))
}
