//! The rules that a SpiderCoordinator and the `coordinator` block of a SpiderMultusConfig share (spec/spiderpool.md 2.5).

use std::net::IpAddr;

use polynic_net::IpNet;

use super::FieldError;
use crate::spider::CoordinatorSpec;

const MODES: [&str; 4] = ["auto", "underlay", "overlay", "disabled"];
const POD_CIDR_TYPES: [&str; 5] = ["auto", "cluster", "calico", "cilium", "none"];

/// Takes over the guides' spelling, and writes destinations as prefixes without host bits. What is no prefix stays.
pub(super) fn normalise(spec: &mut CoordinatorSpec) {
    if let Some(mode) = spec.tune_mode.take() {
        spec.mode = Some(mode);
    }
    for text in spec.hijack_cidr.iter_mut().flatten() {
        *text = prefix(text).map_or_else(|| text.clone(), |net| net.to_string());
    }
    for route in spec.policy_routes.iter_mut().flatten() {
        route.dst = prefix(&route.dst).map_or_else(|| route.dst.clone(), |net| net.to_string());
    }
}

/// A prefix, or the one of a single address.
fn prefix(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip)),
        Err(_) => text.parse::<IpNet>().ok().map(|net| net.trunc()),
    }
}

/// All rules; `at` is the path of the block.
pub(super) fn check(spec: &CoordinatorSpec, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(one_of(at, "mode", spec.mode.as_deref(), &MODES));
    errors.extend(one_of(at, "podCIDRType", spec.pod_cidr_type.as_deref(), &POD_CIDR_TYPES));
    for (i, text) in spec.hijack_cidr.iter().flatten().enumerate() {
        if prefix(text).is_none() {
            errors.push(FieldError::invalid(
                format!("{at}.hijackCIDR[{i}]"),
                text,
                "is neither an address nor a CIDR",
            ));
        }
    }
    for (name, list) in [("overlayPodCIDR", &spec.overlay_pod_cidr), ("serviceCIDR", &spec.service_cidr)] {
        for (i, text) in list.iter().flatten().enumerate().filter(|(_, text)| text.parse::<IpNet>().is_err())
        {
            errors.push(FieldError::invalid(format!("{at}.{name}[{i}]"), text, "is not a CIDR"));
        }
    }
    for (i, route) in spec.policy_routes.iter().flatten().enumerate() {
        errors.extend(check_route(&format!("{at}.policyRoutes[{i}]"), &route.dst, &route.gw));
    }
    errors.extend(spec.pod_mac_prefix.as_deref().and_then(|text| check_mac_prefix(at, text)));
    errors.extend(check_numbers(spec, at));
    let link = spec.veth_link_address.as_deref().filter(|text| !text.is_empty());
    if let Some(text) = link.filter(|text| text.parse::<IpAddr>().is_err()) {
        errors.push(FieldError::invalid(format!("{at}.vethLinkAddress"), text, "is not an address"));
    }
    errors
}

fn one_of(at: &str, name: &str, value: Option<&str>, allowed: &[&str]) -> Option<FieldError> {
    let value = value.filter(|value| !allowed.contains(value))?;
    Some(FieldError::invalid(format!("{at}.{name}"), value, format!("must be one of {}", allowed.join(", "))))
}

fn check_route(at: &str, dst: &str, gw: &str) -> Option<FieldError> {
    let Some(net) = prefix(dst) else {
        return Some(FieldError::invalid(format!("{at}.dst"), dst, "is neither an address nor a CIDR"));
    };
    match gw.parse::<IpAddr>() {
        Err(_) => Some(FieldError::invalid(format!("{at}.gw"), gw, "is not an address")),
        Ok(ip) if ip.is_ipv4() != net.addr().is_ipv4() => {
            Some(FieldError::invalid(format!("{at}.gw"), gw, format!("is not of the family of {dst}")))
        }
        Ok(_) => None,
    }
}

fn check_mac_prefix(at: &str, text: &str) -> Option<FieldError> {
    if text.is_empty() {
        return None;
    }
    let octet = |part: &str| {
        let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    let first = text.split_once(':').and_then(|(first, second)| octet(second).and(octet(first)));
    let wrong = |why: &str| Some(FieldError::invalid(format!("{at}.podMACPrefix"), text, why));
    match first {
        None => wrong("must be two octets such as 0a:1b"),
        Some(first) if first & 1 == 1 => wrong("must not be that of multicast addresses"),
        Some(_) => None,
    }
}

fn check_numbers(spec: &CoordinatorSpec, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut refuse = |name: &str, value: Option<i64>, is_wrong: fn(i64) -> bool, why: &str| {
        if let Some(value) = value.filter(|value| is_wrong(*value)) {
            errors.push(FieldError::invalid(format!("{at}.{name}"), value, why));
        }
    };
    refuse("podRPFilter", spec.pod_rp_filter, |n| n > 2, "must be 0, 1 or 2, or negative to leave it alone");
    refuse("txQueueLen", spec.tx_queue_len, |n| n < 0, "must not be negative");
    refuse("vethMTU", spec.veth_mtu, |n| n < 1, "must be at least 1");
    errors
}
