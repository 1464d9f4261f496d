//! What explain says against what the kernel says.

use polynic_explain::Flow;
use polynic_explain::incoming::{Fate, incoming};
use polynic_explain::lookup::{Chosen, LOOPBACK, Verdict, lookup};
use polynic_kernel::survey::{RouteAnswer, RouteQuestion};
use polynic_net::Family;
use polynic_net::stack::{FibKind, FibRoute, Hop, Stack};

pub fn question(flow: &Flow) -> RouteQuestion {
    RouteQuestion {
        to: Some(flow.dst),
        from: flow.src,
        iif: flow.iif,
        oif: flow.oif,
        mark: flow.mark,
        protocol: Some(flow.protocol),
        source_port: flow.source_port,
        port: flow.port,
    }
}

/// How they differ, if they do.
pub fn difference(stack: &Stack, flow: &Flow, answer: &RouteAnswer) -> Option<String> {
    let (verdict, refused) = ours(stack, flow);
    let what = || format!("explain says {verdict:?} (refused: {refused}), the kernel {answer:?}");
    let agreed = match (answer, &verdict) {
        (RouteAnswer::Refused(_), _) if refused => true,
        // By one next hop it is believed, by another it is not: both are right.
        (_, Verdict::Route(chosen)) if refused && flow.iif.is_some() && chosen.hops.len() > 1 => true,
        (RouteAnswer::Way { way, route }, Verdict::Route(chosen)) if !refused => {
            is_way(flow, way, chosen) && route.as_ref().is_some_and(|route| is_route(route, &chosen.route))
        }
        (RouteAnswer::Way { way, route: None }, Verdict::AssumedOnLink { link, source }) => {
            hop(way).link == Some(*link) && (flow.src.is_some() || way.source == *source)
        }
        _ => false,
    };
    (!agreed).then(what)
}

/// What explain makes of the packet, and whether that means that it goes nowhere.
fn ours(stack: &Stack, flow: &Flow) -> (Verdict, bool) {
    if flow.iif.is_none() {
        let verdict = lookup(stack, flow).verdict;
        let refused = !matches!(verdict, Verdict::Route(_) | Verdict::AssumedOnLink { .. });
        return (verdict, refused);
    }
    let found = incoming(stack, flow);
    let refused = match (flow.family(), found.fate) {
        (_, Fate::Deliver | Fate::Forward) => false,
        // `ip route get` does not ask whether IPv6 forwards.
        (Family::V6, Fate::NotForwarding) => false,
        _ => true,
    };
    (found.decision.verdict, refused)
}

fn hop(route: &FibRoute) -> Hop {
    route.hops.first().cloned().unwrap_or_default()
}

/// What comes of it: one of the hops, and the source.
fn is_way(flow: &Flow, way: &FibRoute, chosen: &Chosen) -> bool {
    let here = matches!(way.kind, FibKind::Local | FibKind::Anycast | FibKind::Broadcast);
    let by = match hop(way) {
        _ if here && flow.iif.is_some() => true,
        hop if here => hop.link == Some(LOOPBACK),
        hop => chosen.hops.iter().any(|one| one.link == hop.link && one.via == hop.via),
    };
    let one_of_many = chosen.hops.len() > 1;
    let source = flow.src.is_some() || one_of_many || way.source == chosen.source;
    way.kind == chosen.route.kind && way.table == chosen.route.table && by && source
}

fn is_route(theirs: &FibRoute, ours: &FibRoute) -> bool {
    (theirs.dst, theirs.table, theirs.metric, theirs.kind) == (ours.dst, ours.table, ours.metric, ours.kind)
}
