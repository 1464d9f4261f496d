//! Whether a policy rule is about a packet (net/core/fib_rules.c, `fib_rule_match`).

use std::net::IpAddr;

use polynic_net::IpNet;
use polynic_net::stack::{FibRoute, Hop, PolicyRule, Stack};

use super::LOOPBACK;
use crate::flow::Flow;

/// An answer that may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can say, and why.
    Unknown(String),
}

/// Whether `rule` is about `flow`.
pub(super) fn matches(stack: &Stack, rule: &PolicyRule, flow: &Flow) -> Match {
    let answer = selectors(stack, rule, flow);
    match (answer, rule.invert) {
        (Match::Yes, true) => Match::No,
        (Match::No, true) => Match::Yes,
        (answer, _) => answer,
    }
}

fn selectors(stack: &Stack, rule: &PolicyRule, flow: &Flow) -> Match {
    let known = by_link(stack, rule.iif.as_deref(), Some(flow.iif.unwrap_or(LOOPBACK)))
        && by_link(stack, rule.oif.as_deref(), flow.oif)
        && rule.mark.is_none_or(|(value, mask)| (flow.mark ^ value) & mask == 0)
        && by_net(rule.to, Some(flow.dst))
        && by_net(rule.from, flow.src)
        && rule.tos == 0
        && rule.protocol.is_none_or(|protocol| protocol == flow.protocol)
        && (!rule.l3mdev || vrf_table(stack, flow).is_some());
    if !known || !by_port(rule.ports, flow.port) || !by_port(rule.source_ports, flow.source_port) {
        return Match::No;
    }
    if !rule.unknown.is_empty() {
        return Match::Unknown(format!("it has selectors that are not understood ({:?})", rule.unknown));
    }
    match rule.users {
        // Whoever looks is taken to be root, as a pod's first process mostly is.
        Some((first, _)) if first > 0 => Match::Unknown("it is about some users only".to_owned()),
        _ => Match::Yes,
    }
}

/// A rule about a link that does not exist matches nothing.
fn by_link(stack: &Stack, name: Option<&str>, index: Option<u32>) -> bool {
    name.is_none_or(|name| stack.link_named(name).map(|link| link.fact.index) == index && index.is_some())
}

/// A source that is still to be chosen lies only in the network of everybody.
fn by_net(net: Option<IpNet>, ip: Option<IpAddr>) -> bool {
    match (net, ip) {
        (None, _) => true,
        (Some(net), Some(ip)) => net.contains(&ip),
        (Some(net), None) => net.prefix_len() == 0,
    }
}

/// An unknown port is 0 in lookups.
fn by_port(range: Option<(u16, u16)>, port: Option<u16>) -> bool {
    range.is_none_or(|(first, last)| (first..=last).contains(&port.unwrap_or_default()))
}

/// The table that a rule looks into.
pub(super) fn table(stack: &Stack, rule: &PolicyRule, named: u32, flow: &Flow) -> Option<u32> {
    if rule.l3mdev { vrf_table(stack, flow) } else { Some(named) }
}

/// The table of the VRF that the packet's link belongs to.
fn vrf_table(stack: &Stack, flow: &Flow) -> Option<u32> {
    let of = |index: Option<u32>| {
        let link = stack.link(index?)?;
        link.fact.vrf_table.or_else(|| stack.link(link.fact.master?)?.fact.vrf_table)
    };
    of(flow.oif).or_else(|| of(flow.iif))
}

/// Whether a rule does not accept what its table says.
pub(super) fn suppresses(stack: &Stack, rule: &PolicyRule, route: &FibRoute, hops: &[Hop]) -> bool {
    let group = || {
        let link = hops.first()?.link?;
        Some(stack.link(link)?.group)
    };
    rule.suppress_prefixlen.is_some_and(|least| u32::from(route.dst.prefix_len()) <= least)
        || rule.suppress_group.is_some_and(|refused| group() == Some(refused))
}
