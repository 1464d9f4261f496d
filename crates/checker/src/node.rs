//! The kernel of one node, or of one pod: what is seen in a network namespace, by itself and against what pods use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::{Family, NsFacts, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};

use crate::{Rule, Violation};

/// The kernel's default table, which has a rule and is empty as a matter of course.
const TABLE_DEFAULT: u32 = 253;

/// A namespace and what is known about it.
#[derive(Clone, Debug)]
pub struct NodeView<'a> {
    /// What it is: `node n1`, `pod team/web`.
    pub name: String,
    /// What was seen: all links, addresses, routes and rules.
    pub facts: &'a NsFacts,
    /// On a node: the addresses of its pods that it should have host routes for, if host routes are to be checked.
    pub pod_addresses: Option<&'a [IpAddr]>,
    /// Host routes in these tables are the agent's own: one to an address that no pod has is left over.
    pub host_tables: &'a [u32],
}

/// Checks what was seen in one namespace.
pub fn check_node(view: &NodeView<'_>) -> Vec<Violation> {
    let mut found = routes(view);
    found.extend(rules(view));
    found.extend(addresses(view));
    found
}

fn routes(view: &NodeView<'_>) -> Vec<Violation> {
    let links = &view.facts.links;
    let mut found = Vec::new();
    for route in view.facts.routes.iter().filter(|route| route.kind == RouteKind::Unicast) {
        let what = match &route.link {
            Some(name) if !links.iter().any(|link| link.name == *name) => {
                format!("its link {name} does not exist")
            }
            _ if is_stray(view, route) => "no pod of this node has the address".to_owned(),
            _ => continue,
        };
        let object = format!("{}, route {} in table {}", view.name, route.dst, route.table);
        found.push(Violation::new(Rule::RouteHasLink, object, what));
    }
    found
}

/// A host route of the agent's to an address that no pod has.
fn is_stray(view: &NodeView<'_>, route: &Route) -> bool {
    let host = route.dst.prefix_len() == Family::of(route.dst.addr()).bits();
    let known = view.pod_addresses.is_none_or(|pods| pods.contains(&route.dst.addr()));
    host && route.gw.is_none() && view.host_tables.contains(&route.table) && !known
}

fn rules(view: &NodeView<'_>) -> Vec<Violation> {
    let filled = |family, table| {
        view.facts.routes.iter().any(|route| route.table == table && Family::of(route.dst.addr()) == family)
    };
    let own = |table: u32| ![TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT, 0].contains(&table);
    let empty = view.facts.rules.iter().filter(|rule| own(rule.table) && !filled(rule.family, rule.table));
    let violation = |rule: &polynic_net::Rule| {
        let object = format!("{}, {} rule {}", view.name, rule.family, rule.priority);
        Violation::new(Rule::RuleHasTable, object, format!("table {} has no route", rule.table))
    };
    empty.map(violation).collect()
}

fn addresses(view: &NodeView<'_>) -> Vec<Violation> {
    let mut links: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    // A veth's link address, or an IPv6 link-local one, may stand on many links.
    for address in view.facts.addresses.iter().filter(|address| address.is_global()) {
        links.entry(address.net.addr()).or_default().push(address.link.as_str());
    }
    let double = links.into_iter().filter(|(_, links)| links.len() > 1);
    let violation = |(ip, links): (IpAddr, Vec<&str>)| {
        Violation::new(
            Rule::AddressOnce,
            format!("{}, address {ip}", view.name),
            format!("it is on {}", links.join(" and ")),
        )
    };
    double.map(violation).collect()
}
