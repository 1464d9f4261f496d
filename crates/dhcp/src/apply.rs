//! What becomes of an interface when its lease changes or ends: pure, from what is there to a list of changes.
//!
//! Chained plugins may have moved routes to another table and may have made rules for the address: these follow the address.

use polynic_net::{
    Address, Announcement, Change, IfName, IpNet, Ipv4Net, Mac, NsFacts, Place, Route, Rule, TABLE_MAIN,
    scope,
};

use crate::lease::{Lease, LeasedRoute};

/// Routes that the kernel made itself (`RTPROT_KERNEL`): they come and go with the address.
const BY_KERNEL: u8 = 2;

/// An interface whose lease changes.
pub(crate) struct Interface<'a> {
    pub(crate) name: &'a IfName,
    pub(crate) mac: Mac,
    /// Metric of its routes.
    pub(crate) priority: Option<u32>,
    pub(crate) facts: &'a NsFacts,
}

/// What an interface loses together with its address although it is not the lease's, and gets back with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Routes that somebody else made.
    routes: Vec<Route>,
    /// Rules for the address.
    rules: Vec<Rule>,
    /// The table that the lease's routes were in.
    table: Option<u32>,
}

/// What will be missed when the lease's address is gone.
pub(crate) fn remains(interface: &Interface<'_>, lease: &Lease) -> Remains {
    let (of_lease, routes): (Vec<&Route>, Vec<&Route>) =
        interface.routes().partition(|route| is_leased(route, Some(lease)));
    let source = Some(std::net::IpAddr::from(lease.address.addr()));
    Remains {
        routes: routes.into_iter().filter(|route| route.src != source).cloned().collect(),
        rules: interface.rules(lease).cloned().collect(),
        table: of_lease.first().map(|route| route.table),
    }
}

/// The changes that lead from one lease to the next; either may be absent. Without an earlier one, `missed` is what the interface
/// lost with the last. Deletions may find nothing, and additions what is there already.
pub(crate) fn changes(
    interface: &Interface<'_>,
    from: Option<&Lease>,
    to: Option<&Lease>,
    missed: &Remains,
) -> Vec<Change> {
    let same_address = from.map(|lease| lease.address) == to.map(|lease| lease.address);
    let same_routes = from.map(|lease| &lease.routes) == to.map(|lease| &lease.routes);
    if same_address && same_routes {
        return Vec::new();
    }
    let of_old = interface.routes().filter(|route| is_leased(route, from));
    let mut changes: Vec<Change> =
        of_old.map(|route| Change::delete_route(Place::Pod, route.clone())).collect();
    let found = from.map(|lease| remains(interface, lease));
    let kept = found.as_ref().unwrap_or(missed);
    if !same_address {
        changes.extend(interface.move_address(from, to, kept));
        changes.extend(move_rules(from, to, kept));
    }
    let (routes, table) = (to.map(|lease| lease.routes.as_slice()), kept.table.unwrap_or(TABLE_MAIN));
    let routes = routes.unwrap_or_default().iter();
    changes.extend(routes.map(|route| Change::add_route(Place::Pod, interface.route(route, table))));
    if let (Some(to), false) = (to, same_address) {
        let (link, ip) = (interface.name.clone(), to.address.addr().into());
        changes.push(Change::announce(Place::Pod, Announcement { link, ip, mac: interface.mac }));
    }
    changes
}

impl Interface<'_> {
    /// The link's IPv4 routes, without the kernel's own.
    fn routes(&self) -> impl Iterator<Item = &Route> {
        let on_link = |route: &&Route| route.link.as_ref() == Some(self.name) && route.dst.addr().is_ipv4();
        self.facts.routes.iter().filter(on_link).filter(|route| route.protocol != BY_KERNEL)
    }

    fn rules(&self, lease: &Lease) -> impl Iterator<Item = &Rule> {
        let address = host(lease);
        self.facts.rules.iter().filter(move |rule| rule.from == Some(address))
    }

    /// First away with the old one: it would take a new one of its network along (devinet.c, `__inet_del_ifa`). The last address
    /// takes all routes of the link along, so those that are not the lease's are put back.
    fn move_address(&self, from: Option<&Lease>, to: Option<&Lease>, kept: &Remains) -> Vec<Change> {
        let mut changes = Vec::new();
        let address = |net: Ipv4Net| Address::new(self.name, IpNet::V4(net));
        if let Some(from) = from {
            changes.extend(Change::add_address(Place::Pod, address(from.address)).inverse());
        }
        if let Some(to) = to {
            changes.push(Change::add_address(Place::Pod, address(to.address)));
            changes.extend(kept.routes.iter().map(|route| Change::add_route(Place::Pod, route.clone())));
        }
        changes
    }

    fn route(&self, route: &LeasedRoute, table: u32) -> Route {
        Route {
            gw: route.gw.map(Into::into),
            scope: if route.gw.is_none() { scope::LINK } else { scope::UNIVERSE },
            table,
            priority: self.priority.unwrap_or_default(),
            ..Route::new(IpNet::V4(route.dst), self.name)
        }
    }
}

fn move_rules(from: Option<&Lease>, to: Option<&Lease>, kept: &Remains) -> Vec<Change> {
    let moved = kept.rules.iter().flat_map(|rule| {
        let old = from.map(|_| Change::delete_rule(Place::Pod, rule.clone()));
        let new = to.map(|lease| Rule { from: Some(host(lease)), ..rule.clone() });
        old.into_iter().chain(new.map(|rule| Change::add_rule(Place::Pod, rule)))
    });
    moved.collect()
}

fn host(lease: &Lease) -> IpNet {
    IpNet::from(std::net::IpAddr::from(lease.address.addr()))
}

fn is_leased(route: &Route, lease: Option<&Lease>) -> bool {
    let gw = |leased: &LeasedRoute| leased.gw.map(std::net::IpAddr::from);
    let routes = lease.map(|lease| lease.routes.as_slice()).unwrap_or_default();
    routes.iter().any(|leased| IpNet::V4(leased.dst) == route.dst && gw(leased) == route.gw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn lease(address: &str, gw: [u8; 4]) -> Lease {
        let gateway = Some(Ipv4Addr::from(gw));
        Lease {
            address: address.parse().unwrap(),
            server: Ipv4Addr::from(gw),
            server_mac: Mac([2; 6]),
            seconds: 60,
            renew_after: 30,
            rebind_after: 50,
            gateway,
            routes: vec![LeasedRoute { dst: Ipv4Net::default(), gw: gateway }],
        }
    }

    fn texts(facts: &NsFacts, from: Option<&Lease>, to: Option<&Lease>) -> Vec<String> {
        texts_missing(facts, from, to, &Remains::default())
    }

    fn texts_missing(
        facts: &NsFacts,
        from: Option<&Lease>,
        to: Option<&Lease>,
        missed: &Remains,
    ) -> Vec<String> {
        let name = IfName::new("net1").unwrap();
        let interface = Interface { name: &name, mac: Mac([2; 6]), priority: None, facts };
        changes(&interface, from, to, missed).iter().map(ToString::to_string).collect()
    }

    fn facts() -> NsFacts {
        let net1 = IfName::new("net1").unwrap();
        let default = Route::new("0.0.0.0/0".parse().unwrap(), &net1).via("10.0.0.1".parse().unwrap());
        let users = Route::new("10.50.0.0/16".parse().unwrap(), &net1).via("10.0.0.7".parse().unwrap());
        let of_kernel = Route { protocol: BY_KERNEL, ..Route::new("10.0.0.0/24".parse().unwrap(), &net1) };
        let routes = vec![default.in_table(101), users, of_kernel];
        let rule = Rule {
            family: polynic_net::Family::V4,
            priority: 100,
            from: Some("10.0.0.9/32".parse().unwrap()),
            to: None,
            iif: None,
            mark: None,
            table: 101,
        };
        NsFacts { routes, rules: vec![rule], ..NsFacts::default() }
    }

    #[test]
    fn more_time_changes_nothing() {
        let before = lease("10.0.0.9/24", [10, 0, 0, 1]);
        let after = Lease { seconds: 600, ..before.clone() };
        assert!(texts(&facts(), Some(&before), Some(&after)).is_empty());
    }

    #[test]
    fn a_moved_address_takes_its_routes_and_rules_along_and_no_others() {
        let (old, new) = (lease("10.0.0.9/24", [10, 0, 0, 1]), lease("10.0.0.77/24", [10, 0, 0, 2]));
        let expected = [
            "remove route default via 10.0.0.1 dev net1 table 101 in pod",
            "remove address 10.0.0.9/24 on net1 in pod",
            "add address 10.0.0.77/24 on net1 in pod",
            "add route 10.50.0.0/16 via 10.0.0.7 dev net1 in pod",
            "remove rule 100 to table 101 in pod",
            "add rule 100 to table 101 in pod",
            "add route default via 10.0.0.2 dev net1 table 101 in pod",
            "announce 10.0.0.77 at 02:02:02:02:02:02 on net1 in pod",
        ];
        assert_eq!(texts(&facts(), Some(&old), Some(&new)), expected);
    }

    #[test]
    fn what_went_with_an_ended_lease_comes_back_with_the_next() {
        let (old, new) = (lease("10.0.0.9/24", [10, 0, 0, 1]), lease("10.0.0.77/24", [10, 0, 0, 2]));
        let (name, facts) = (IfName::new("net1").unwrap(), facts());
        let missed =
            remains(&Interface { name: &name, mac: Mac([2; 6]), priority: None, facts: &facts }, &old);
        let expected = [
            "add address 10.0.0.77/24 on net1 in pod",
            "add route 10.50.0.0/16 via 10.0.0.7 dev net1 in pod",
            "add rule 100 to table 101 in pod",
            "add route default via 10.0.0.2 dev net1 table 101 in pod",
            "announce 10.0.0.77 at 02:02:02:02:02:02 on net1 in pod",
        ];
        assert_eq!(texts_missing(&NsFacts::default(), None, Some(&new), &missed), expected);
    }

    #[test]
    fn an_ended_lease_takes_address_and_routes_away() {
        let old = lease("10.0.0.9/24", [10, 0, 0, 1]);
        let expected = [
            "remove route default via 10.0.0.1 dev net1 table 101 in pod",
            "remove address 10.0.0.9/24 on net1 in pod",
            "remove rule 100 to table 101 in pod",
        ];
        assert_eq!(texts(&facts(), Some(&old), None), expected);
    }
}
