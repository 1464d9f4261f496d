//! IPv4's choice within a table (net/ipv4/fib_trie.c, `fib_table_lookup`): the longest prefix, then the lowest metric, then the order of
//! the table; a route none of whose next hops fits is passed over.

use std::cmp::Reverse;

use polynic_net::stack::{FibKind, FibRoute, Hop, Stack};
use polynic_net::{Family, scope};

use crate::flow::Flow;

/// The route that the table has for a packet, with the next hops that fit.
pub(super) fn select<'a>(stack: &'a Stack, flow: &Flow, table: u32) -> Option<(&'a FibRoute, Vec<Hop>)> {
    let fits = |route: &&FibRoute| {
        route.family == Family::V4 && route.table == table && route.tos == 0 && route.dst.contains(&flow.dst)
    };
    let mut candidates: Vec<&FibRoute> = stack.routes.iter().filter(fits).collect();
    candidates.sort_by_key(|route| (Reverse(route.dst.prefix_len()), route.metric));
    candidates.into_iter().find_map(|route| {
        if route.kind.refuses() || route.kind == FibKind::Throw {
            return Some((route, Vec::new()));
        }
        let hops: Vec<Hop> = route.hops.iter().filter(|hop| is_good(stack, hop, flow)).cloned().collect();
        (!hops.is_empty()).then_some((route, hops))
    })
}

/// `fib_lookup_good_nhc`.
fn is_good(stack: &Stack, hop: &Hop, flow: &Flow) -> bool {
    let ignored =
        hop.linkdown && hop.link.and_then(|link| stack.link(link)).is_some_and(ignores_linkdown(stack));
    !hop.dead && !ignored && flow.oif.is_none_or(|oif| hop.link == Some(oif))
}

fn ignores_linkdown(stack: &Stack) -> impl Fn(&polynic_net::stack::LinkState) -> bool {
    let all = stack.all.v4.ignore_linkdown;
    move |link| all || link.conf.v4.ignore_linkdown
}

/// Several default routes of one metric through gateways: the kernel takes the first whose gateway it believes to be alive
/// (`fib_select_default`), so it is one of them.
pub(super) fn among_defaults<'a>(
    stack: &'a Stack,
    route: &'a FibRoute,
    hops: Vec<Hop>,
) -> (&'a FibRoute, Vec<Hop>) {
    if route.dst.prefix_len() > 0 || route.kind != FibKind::Unicast || route.hops.len() > 1 {
        return (route, hops);
    }
    let alike = |other: &&FibRoute| {
        other.family == Family::V4
            && other.table == route.table
            && other.dst.prefix_len() == 0
            && other.metric == route.metric
            && other.tos == 0
            && other.kind == FibKind::Unicast
            && other.scope == scope::UNIVERSE
    };
    let through_gateways = stack.routes.iter().filter(alike).flat_map(|route| route.hops.first());
    let others = through_gateways.filter(|hop| hop.via.is_some() && !hop.dead);
    let mut all = hops;
    if all.first().is_some_and(|hop| hop.via.is_some()) {
        for hop in others {
            if !all.contains(hop) {
                all.push(hop.clone());
            }
        }
    }
    (route, all)
}
