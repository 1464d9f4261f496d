//! IPv6's choice within a table (net/ipv6/route.c, `fib6_table_lookup` and `find_rr_leaf`): the longest prefix; there, metric by metric, the
//! next hop with the best score. Next hops of one destination and metric share packets by a hash.

use std::net::IpAddr;

use polynic_net::Family;
use polynic_net::stack::{FibRoute, Hop, Nud, Stack};

use super::{LOOPBACK, Strictness};
use crate::flow::Flow;

/// What a next hop is measured by.
#[derive(Clone, Copy)]
struct Measure {
    /// The link that is preferred, or with `strict` insisted on.
    link: Option<u32>,
    strict: bool,
    /// Gateways that are known not to answer do not count (`RT6_LOOKUP_F_REACHABLE`).
    reachable: bool,
}

/// The route that the table has for a packet, with the next hops that the kernel may choose.
pub(super) fn select<'a>(
    stack: &'a Stack,
    flow: &Flow,
    table: u32,
    strict: Strictness,
) -> Option<(&'a FibRoute, Vec<Hop>)> {
    let fits = |route: &&FibRoute| {
        route.family == Family::V6
            && route.table == table
            && route.from.is_none_or(|from| flow.src.is_some_and(|src| from.contains(&src)))
            && route.dst.contains(&flow.dst)
    };
    let candidates: Vec<&FibRoute> = stack.routes.iter().filter(fits).collect();
    let link = flow.iif.or(flow.oif);
    let measure = |reachable| Measure { link, strict: strict.0, reachable };
    // Hosts pass over dead gateways, and come back to them if there is nothing else. Routers do not ask.
    let careful = (!stack.all.v6.forwarding).then(|| by_prefix(stack, &candidates, measure(true))).flatten();
    careful.or_else(|| by_prefix(stack, &candidates, measure(false)))
}

fn by_prefix<'a>(
    stack: &Stack,
    candidates: &[&'a FibRoute],
    measure: Measure,
) -> Option<(&'a FibRoute, Vec<Hop>)> {
    let mut places: Vec<(u8, u32)> = candidates.iter().map(|r| (r.dst.prefix_len(), r.metric)).collect();
    places.sort_by_key(|(length, metric)| (std::cmp::Reverse(*length), *metric));
    places.dedup();
    places.into_iter().find_map(|place| {
        let here = candidates.iter().copied().filter(|r| (r.dst.prefix_len(), r.metric) == place);
        best(stack, here, measure)
    })
}

/// The first of the best; of a route with several next hops all that are not ruled out.
fn best<'a>(
    stack: &Stack,
    routes: impl Iterator<Item = &'a FibRoute>,
    measure: Measure,
) -> Option<(&'a FibRoute, Vec<Hop>)> {
    let mut best: Option<(i32, &FibRoute)> = None;
    for route in routes {
        let scores = route.hops.iter().filter_map(|hop| score(stack, route, hop, measure));
        if let Some(score) = scores.max()
            && best.is_none_or(|(so_far, _)| score > so_far)
        {
            best = Some((score, route));
        }
    }
    let (_, route) = best?;
    let possible = route.hops.iter().filter(|hop| score(stack, route, hop, measure).is_some());
    Some((route, possible.cloned().collect()))
}

/// `rt6_score_route`; nothing for a next hop that must not be taken.
fn score(stack: &Stack, route: &FibRoute, hop: &Hop, measure: Measure) -> Option<i32> {
    let link = hop.link.unwrap_or(LOOPBACK);
    let ignores = || {
        let own = stack.link(link).is_some_and(|link| link.conf.v6.ignore_linkdown);
        own || stack.all.v6.ignore_linkdown
    };
    if hop.dead || (hop.linkdown && ignores()) {
        return None;
    }
    let fits = measure.link.is_none_or(|wanted| wanted == link);
    if !fits && measure.strict {
        return None;
    }
    if measure.reachable && hop.via.is_some_and(|via| is_dead(stack, link, via)) {
        return None;
    }
    Some(if fits { 2 } else { 0 } | preference(route.preference) << 2)
}

/// RFC 4191: high, medium, low, decoded as the kernel does (include/net/ip6_route.h, `IPV6_DECODE_PREF`).
fn preference(raw: u8) -> i32 {
    i32::from((raw ^ 2) & 3)
}

fn is_dead(stack: &Stack, link: u32, via: IpAddr) -> bool {
    stack.neighbour(link, via).is_some_and(|n| n.nud == Nud::Failed)
}
