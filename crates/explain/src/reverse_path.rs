//! Whether IPv4 takes a packet that came in by a link for genuine: the reverse path filter and its kin (net/ipv4/fib_frontend.c,
//! `fib_validate_source`). IPv6 has no such check.

use std::net::IpAddr;

use polynic_net::Family;
use polynic_net::stack::{FibKind, Stack};

use crate::flow::Flow;
use crate::lookup::{Decision, LOOPBACK, Verdict, lookup};

/// What the check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// Nothing is checked but that the source is not one's own.
    Off,
    /// The way back is by the same link, or the filter is loose and there is one.
    Passes,
    /// Strict, and the way back is by other links: by these.
    OtherLink(Vec<u32>),
    /// There is no way back at all.
    NoWayBack,
    /// The source is an address of this very host, or no host's.
    OwnSource,
}

impl ReversePath {
    /// Whether the packet goes on.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Off | Self::Passes)
    }
}

/// The setting that holds for a link: the stricter of its own and that of all.
pub fn mode(stack: &Stack, link: u32) -> u8 {
    let own = stack.link(link).map_or(0, |link| link.conf.v4.rp_filter);
    own.max(stack.all.v4.rp_filter)
}

/// Checks a packet from `src` to `dst` that came in by `iif` with `mark`, and would leave by `oif` (none if it stays).
pub fn check(stack: &Stack, flow: &Flow, oif: Option<u32>) -> ReversePath {
    let (Some(src), Some(iif)) = (flow.src, flow.iif) else { return ReversePath::Off };
    if flow.family() == Family::V6 {
        return ReversePath::Off;
    }
    let all = &stack.all.v4;
    let own = stack.link(iif).map(|link| link.conf.v4).unwrap_or_default();
    let rpf = mode(stack, iif);
    let redirects = all.send_redirects || own.send_redirects;
    if rpf == 0 && (oif != Some(iif) || !redirects) {
        if all.accept_local || own.accept_local {
            return ReversePath::Off;
        }
        if !is_custom(stack) {
            return if stack.owns(src) { ReversePath::OwnSource } else { ReversePath::Off };
        }
    }
    full(stack, flow, (src, iif), oif)
}

/// Rules or local routes that the kernel did not make itself.
fn is_custom(stack: &Stack) -> bool {
    let standard = |priority| matches!(priority, 0 | 32766 | 32767);
    let rules = stack.rules_of(Family::V4);
    let routes = stack.routes.iter().filter(|r| r.family == Family::V4 && r.kind == FibKind::Local);
    rules.into_iter().any(|rule| !standard(rule.priority)) || routes.into_iter().any(|r| r.protocol != 2)
}

fn full(stack: &Stack, flow: &Flow, (src, iif): (IpAddr, u32), oif: Option<u32>) -> ReversePath {
    let all = &stack.all.v4;
    let own = stack.link(iif).map(|link| link.conf.v4).unwrap_or_default();
    let rpf = mode(stack, iif);
    let last_resort = if rpf == 0 { ReversePath::Off } else { ReversePath::NoWayBack };
    let by_ports = stack
        .rules_of(Family::V4)
        .any(|rule| rule.protocol.is_some() || rule.ports.is_some() || rule.source_ports.is_some());
    let back = Flow {
        dst: src,
        src: Some(flow.dst),
        iif: Some(oif.unwrap_or(LOOPBACK)),
        oif: None,
        mark: if all.src_valid_mark || own.src_valid_mark { flow.mark } else { 0 },
        // The kernel looks at ports only if some rule does.
        protocol: if by_ports { flow.protocol } else { 0 },
        source_port: flow.port.filter(|_| by_ports),
        port: flow.source_port.filter(|_| by_ports),
    };
    let Decision { verdict, .. } = lookup(stack, &back);
    let Verdict::Route(chosen) = verdict else { return last_resort };
    let accepts_local = all.accept_local || own.accept_local;
    let local = chosen.route.kind == FibKind::Local;
    if chosen.route.kind != FibKind::Unicast && !(local && accepts_local) {
        return ReversePath::OwnSource;
    }
    // Any next hop of the route will do, whether or not the packet could take it.
    let links: Vec<u32> = chosen.route.hops.iter().filter_map(|hop| hop.link).collect();
    if links.contains(&iif) || (local && iif == LOOPBACK) {
        return if rpf == 0 { ReversePath::Off } else { ReversePath::Passes };
    }
    let addressed = stack.addresses_on(iif).any(|address| address.fact.net.addr().is_ipv4());
    match (addressed, rpf) {
        (false, _) => last_resort,
        (true, 1) => ReversePath::OtherLink(links),
        (true, 0) => ReversePath::Off,
        (true, _) => ReversePath::Passes,
    }
}
