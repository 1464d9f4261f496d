//! A plan in the making, which knows what will be there after each step: what exists is not made twice, and rules get the
//! priorities that the kernel would give them (spec/coordinator.md 1.2).

use std::net::IpAddr;

use polynic_net::{
    Change, Diff, Facts, Family, IfName, IpNet, Mac, Neighbour, NsFacts, Object, Place, Plan, Route,
    RouteKind, Rule, TABLE_MAIN,
};

use crate::Call;

/// The plan so far and the state it leads to.
pub(super) struct Draft {
    pub(super) plan: Plan,
    /// The interface that the call is about.
    pub(super) nic: IfName,
    host: Objects,
    pod: Objects,
}

/// What is looked up while planning.
struct Objects {
    routes: Vec<Route>,
    rules: Vec<Rule>,
    neighbours: Vec<Neighbour>,
}

impl Objects {
    fn of(ns: Option<&NsFacts>) -> Self {
        let ns = ns.cloned().unwrap_or_default();
        let mut rules = ns.rules;
        rules.sort_by_key(|r| r.priority);
        Self { routes: ns.routes, rules, neighbours: ns.neighbours }
    }
}

/// Which packets a rule sees, and where it sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) from: Option<IpNet>,
    pub(super) to: Option<IpNet>,
    pub(super) mark: Option<(u32, u32)>,
}

impl Selector {
    pub(super) fn from(net: IpNet) -> Self {
        Self { from: Some(net), ..Self::default() }
    }

    pub(super) fn to(net: IpNet) -> Self {
        Self { to: Some(net), ..Self::default() }
    }
}

impl Draft {
    pub(super) fn new(call: &Call<'_>, facts: &Facts) -> Self {
        let (host, pod) = (Objects::of(Some(&facts.host)), Objects::of(facts.pod.as_ref()));
        Self { plan: Plan::default(), nic: call.ifname.clone(), host, pod }
    }

    fn at(&mut self, place: Place) -> &mut Objects {
        match place {
            Place::Host => &mut self.host,
            Place::Pod => &mut self.pod,
        }
    }

    /// Whether a table of the pod has routes or is looked into by rules.
    pub(super) fn uses_table(&self, table: u32, counts: impl Fn(&Route) -> bool) -> bool {
        self.pod.rules.iter().any(|r| r.table == table)
            || self.pod.routes.iter().any(|r| r.table == table && counts(r))
    }

    /// The table that is meant, or, if others use it, the lowest from 101 that nobody uses.
    pub(super) fn free_table(&self, meant: u32, counts: impl Fn(&Route) -> bool) -> u32 {
        let is_free = |table: &u32| !self.uses_table(*table, &counts);
        let first = std::iter::once(meant).chain(101..TABLE_MAIN - 1);
        first.chain(TABLE_MAIN + 2..u32::MAX).find(is_free).unwrap_or(meant)
    }

    /// Adds a route unless its place is taken: the same destination with the same metric in the same table.
    pub(super) fn add_route(&mut self, place: Place, route: Route) {
        if self.at(place).routes.iter().any(|r| same_slot(r, &route)) {
            return;
        }
        self.at(place).routes.push(route.clone());
        self.plan.own(Change::add_route(place, route));
    }

    /// Promises a route of the pod that an earlier interface has brought and this one relies on: if that goes, the route stays.
    pub(super) fn keep_route(&mut self, route: Route) {
        if self.pod.routes.iter().any(|r| polynic_net::check::serves(r, &route)) {
            self.plan.ensure(Change::add_route(Place::Pod, route));
        }
    }

    /// Makes sure of a neighbour of the pod that several interfaces rely on. Where an earlier one has brought it, it stays if that goes; an
    /// address of the node that came up since needs one, too: nodes need not answer for it at that link (`arp_ignore`).
    pub(super) fn rely_on_neighbour(&mut self, neighbour: Neighbour) {
        if self.pod.neighbours.contains(&neighbour) {
            self.plan.ensure(Change::add_neighbour(Place::Pod, neighbour));
        } else {
            self.add_neighbour(Place::Pod, neighbour);
        }
    }

    /// Puts another route in the place of one that is there, or none. Its undo puts it back where it was: IPv4 routes of one destination and
    /// metric stand in an order, in which a new one comes first, so those before it are taken away and put back as well.
    pub(super) fn replace_route(&mut self, place: Place, route: &Route, by: Option<Route>) {
        let routes = &mut self.at(place).routes;
        let Some(at) = routes.iter().position(|r| r == route) else { return };
        let before: Vec<Route> = match route.family() {
            Family::V4 => routes[..at].iter().filter(|r| same_slot(r, route)).cloned().collect(),
            Family::V6 => Vec::new(),
        };
        routes.splice(at..=at, by.clone());
        for gone in before.iter().chain(std::iter::once(route)) {
            self.plan.own(Change::delete_route(place, gone.clone()));
        }
        for back in by.into_iter().chain(before.into_iter().rev()) {
            self.plan.own(Change::add_route(place, back));
        }
    }

    /// The unicast routes of the pod's main table on a link, for moving: not the link-local network, which every table has no use for.
    pub(super) fn main_routes_on(&self, link: &IfName, family: Family) -> Vec<Route> {
        let wanted = |r: &&Route| {
            r.table == TABLE_MAIN
                && r.family() == family
                && r.uses(link)
                && r.kind == RouteKind::Unicast
                && !is_link_local_network(r.dst)
        };
        self.pod.routes.iter().filter(wanted).cloned().collect()
    }

    /// Adds a rule to the pod with the priority that the kernel would choose: one less than that of the second rule.
    pub(super) fn add_rule(&mut self, family: Family, selector: Selector, table: u32) {
        let of_family = || self.pod.rules.iter().filter(move |r| r.family == family);
        let Selector { from, to, mark } = selector;
        let rule = Rule { family, priority: 0, from, to, iif: None, mark, table };
        if of_family().any(|r| Rule { priority: 0, ..r.clone() } == rule) {
            return;
        }
        let second = of_family().nth(1).map_or(0, |r| r.priority);
        self.insert_rule(Place::Pod, Rule { priority: second.saturating_sub(1), ..rule });
    }

    /// Adds a rule with a priority of its own, unless it is there.
    pub(super) fn insert_rule(&mut self, place: Place, rule: Rule) {
        if self.note_rule(place, &rule) {
            self.plan.own(Change::add_rule(place, rule));
        }
    }

    /// Makes sure of a rule that others share.
    pub(super) fn ensure_rule(&mut self, place: Place, rule: Rule) {
        self.note_rule(place, &rule);
        self.plan.ensure(Change::add_rule(place, rule));
    }

    /// Notes a rule in its place; false if it was there.
    fn note_rule(&mut self, place: Place, rule: &Rule) -> bool {
        let rules = &mut self.at(place).rules;
        if rules.contains(rule) {
            return false;
        }
        // Rules of one priority stand in the order in which they came.
        let at = rules.iter().position(|r| r.priority > rule.priority).unwrap_or(rules.len());
        rules.insert(at, rule.clone());
        true
    }

    /// Adds a permanent neighbour unless there is one for the address on the link.
    pub(super) fn add_neighbour(&mut self, place: Place, neighbour: Neighbour) {
        let known = &mut self.at(place).neighbours;
        if known.iter().any(|n| n.link == neighbour.link && n.ip == neighbour.ip) {
            return;
        }
        known.push(neighbour.clone());
        self.plan.own(Change::add_neighbour(place, neighbour));
    }

    /// Makes the node know an address of the pod at one link only: what it knew of it elsewhere was another pod's, and is not
    /// put back by DEL.
    pub(super) fn set_host_neighbour(&mut self, link: &IfName, ip: IpAddr, mac: Mac) {
        let stale: Vec<_> = self.host.neighbours.iter().filter(|n| n.ip == ip).cloned().collect();
        self.host.neighbours.retain(|n| n.ip != ip);
        for gone in stale {
            self.plan.ensure(Change::delete_neighbour(Place::Host, gone));
        }
        self.add_neighbour(Place::Host, Neighbour { link: link.clone(), ip, mac });
    }

    /// Makes a table of the node lead to an address of the pod by one route only, as above.
    pub(super) fn set_host_route(&mut self, route: Route) {
        let same = |r: &Route| r.dst == route.dst && r.table == route.table && r.kind == RouteKind::Unicast;
        let stale: Vec<_> = self.host.routes.iter().filter(|r| same(r)).cloned().collect();
        self.host.routes.retain(|r| !same(r));
        for gone in stale {
            self.plan.ensure(Change { place: Place::Host, object: Object::Route(Diff::delete(gone)) });
        }
        self.add_route(Place::Host, route);
    }
}

/// Whether the kernel would refuse one beside the other with `NLM_F_EXCL`.
fn same_slot(a: &Route, b: &Route) -> bool {
    a.dst == b.dst && a.table == b.table && a.effective_priority() == b.effective_priority()
}

fn is_link_local_network(net: IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.prefix_len() == 64 && net.network().segments() == [0xfe80, 0, 0, 0, 0, 0, 0, 0])
}
