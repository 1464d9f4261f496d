//! What a stack does with a packet that came in: deliver it, send it on, or neither (net/ipv4/route.c, `ip_route_input_slow`; net/ipv6/route.c).

use std::net::IpAddr;

use polynic_net::Family;
use polynic_net::stack::{FibKind, Stack};

use crate::flow::Flow;
use crate::lookup::{Chosen, Decision, Verdict, lookup};
use crate::reverse_path::{self, ReversePath};

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The lookup.
    pub decision: Decision,
    /// The reverse path check; none where the packet did not get that far.
    pub reverse_path: Option<ReversePath>,
    /// The end of it.
    pub fate: Fate,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To this host.
    Deliver,
    /// On, by the route of the decision.
    Forward,
    /// The source is not believed.
    Disbelieve,
    /// There is a way, but this host sends nothing on.
    NotForwarding,
    /// There is no way.
    NoWay,
    /// Source or destination are addresses that no packet on a wire may have.
    Martian,
}

/// Said where a packet is disbelieved by some of its next hops.
const BY_HOP: &str = "whether it is believed depends on which next hop it gets";

/// What `stack` does with `flow`, which came in by its `iif`.
pub fn incoming(stack: &Stack, flow: &Flow) -> Incoming {
    let mut decision = lookup(stack, flow);
    if is_martian(stack, flow) {
        return Incoming { decision, reverse_path: None, fate: Fate::Martian };
    }
    let Verdict::Route(chosen) = &decision.verdict else {
        return Incoming { decision, reverse_path: None, fate: Fate::NoWay };
    };
    let (reverse_path, fate) = match flow.family() {
        Family::V4 => v4(stack, flow, chosen),
        Family::V6 => (None, v6(stack, chosen)),
    };
    if fate == Fate::Disbelieve && chosen.hops.len() > 1 {
        decision.doubts.push(BY_HOP.to_owned());
    }
    Incoming { decision, reverse_path, fate }
}

fn is_martian(stack: &Stack, flow: &Flow) -> bool {
    let (IpAddr::V4(dst), Some(IpAddr::V4(src))) = (flow.dst, flow.src) else { return false };
    let localnet = stack.all.v4.route_localnet
        || flow.iif.and_then(|iif| stack.link(iif)).is_some_and(|link| link.conf.v4.route_localnet);
    src.is_multicast()
        || src.is_broadcast()
        || src.octets()[0] == 0
        || dst.octets()[0] == 0
        || (!localnet
            && (dst.is_loopback() || src.is_loopback())
            && flow.iif != Some(crate::lookup::LOOPBACK))
}

fn v4(stack: &Stack, flow: &Flow, chosen: &Chosen) -> (Option<ReversePath>, Fate) {
    let forwards = flow.iif.and_then(|iif| stack.link(iif)).is_some_and(|link| link.conf.v4.forwarding);
    let links: Vec<Option<u32>> = match chosen.route.kind {
        FibKind::Broadcast => return (None, Fate::Deliver),
        FibKind::Local => vec![None],
        FibKind::Unicast if !forwards => return (None, Fate::NotForwarding),
        FibKind::Unicast => chosen.hops.iter().map(|hop| hop.link).collect(),
        _ => return (None, Fate::Martian),
    };
    // Which of several next hops it will be decides about the rules that are asked for the way back: the worst case counts.
    let checks = links.into_iter().map(|oif| reverse_path::check(stack, flow, oif));
    let check = checks.min_by_key(ReversePath::passes).unwrap_or(ReversePath::Off);
    let fate = match (check.passes(), chosen.route.kind) {
        (false, _) => Fate::Disbelieve,
        (true, FibKind::Local) => Fate::Deliver,
        (true, _) => Fate::Forward,
    };
    (Some(check), fate)
}

fn v6(stack: &Stack, chosen: &Chosen) -> Fate {
    match chosen.route.kind {
        FibKind::Local | FibKind::Anycast | FibKind::Multicast => Fate::Deliver,
        _ if stack.all.v6.forwarding => Fate::Forward,
        _ => Fate::NotForwarding,
    }
}
