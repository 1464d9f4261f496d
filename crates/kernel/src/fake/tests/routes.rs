//! Routes, rules and neighbours.

use std::net::IpAddr;

use polynic_net::{Diff, Family, Mac, Neighbour, RouteKind, Rule};

use super::*;

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn add(route: Route) -> Change {
    Change::add_route(Place::Host, route)
}

#[test]
fn routes_need_a_link_that_is_up() {
    let mut m = Machine::new();
    m.ok(veth());
    assert_eq!(m.refused(add(route("10.9.0.0/16", "gone"))), 19);
    assert_eq!(m.refused(add(route("10.9.0.0/16", "veth1"))), 100);
    assert_eq!(m.refused(add(route("fd09::/64", "veth1"))), 100);
}

#[test]
fn gateways_are_on_the_link() {
    let mut m = Machine::new();
    m.ok(address(Place::Host, "eth0", "fd00::1/64"));
    assert_eq!(m.refused(add(route("0.0.0.0/0", "eth0").via(ip("10.9.9.9")))), 101);
    assert_eq!(m.refused(add(route("::/0", "eth0").via(ip("fd09::1")))), 113);
    assert_eq!(m.refused(add(route("::/0", "eth0").via(ip("fd00::1")))), 22, "its own address");
    assert_eq!(m.refused(add(route("0.0.0.0/0", "eth0").via(ip("fd00::9")))), 22);
    m.ok(add(route("0.0.0.0/0", "eth0").via(ip("192.0.2.1"))));
    m.ok(add(route("::/0", "eth0").via(ip("fe80::1"))));
    m.ok(add(route("10.8.0.0/16", "eth0").link_scope()));
    m.ok(add(route("10.9.0.0/16", "eth0").via(ip("10.8.0.1"))));
    m.ok(add(Route { onlink: true, ..route("10.10.0.0/16", "eth0").via(ip("10.99.0.1")) }));
}

#[test]
fn a_way_of_the_same_scope_leads_to_no_gateway() {
    let mut m = Machine::new();
    m.ok(add(route("10.8.0.0/16", "eth0")));
    assert_eq!(m.refused(add(route("10.9.0.0/16", "eth0").via(ip("10.8.0.1")))), 101);
    assert_eq!(m.refused(add(route("10.9.0.0/16", "eth0").via(ip("192.0.2.1")).link_scope())), 101);
}

#[test]
fn a_gateway_may_be_known_to_the_routes_own_table() {
    let mut m = Machine::new();
    m.ok(add(route("10.8.0.0/16", "eth0").link_scope().in_table(100)));
    m.ok(add(route("10.9.0.0/16", "eth0").via(ip("10.8.0.1")).in_table(100)));
    assert_eq!(m.refused(add(route("10.9.0.0/16", "eth0").via(ip("10.8.0.1")))), 101);
}

#[test]
fn identical_routes_are_refused() {
    let mut m = Machine::new();
    m.ok(address(Place::Host, "eth0", "fd00::1/64"));
    let v4 = route("10.9.0.0/16", "eth0").via(ip("192.0.2.1"));
    let v6 = route("fd09::/64", "eth0").via(ip("fd00::9"));
    m.ok(add(v4.clone())).ok(add(v6.clone()));
    assert_eq!(m.refused(add(v4.clone())), 17);
    assert_eq!(m.refused(add(v6.clone())), 17);
    m.ok(add(Route { protocol: 4, ..v4 }));
    assert_eq!(m.refused(add(Route { protocol: 4, ..v6.clone() })), 17, "IPv6 compares only the way");
    assert_eq!(m.refused(add(Route { priority: 1024, ..v6 })), 17, "which is the default metric");
}

#[test]
fn an_ipv4_route_goes_in_front_of_its_equals() {
    let mut m = Machine::new();
    for gw in ["192.0.2.1", "192.0.2.2"] {
        m.ok(add(route("0.0.0.0/0", "eth0").via(ip(gw))));
    }
    let first = m.host().routes.iter().find(|r| r.is_default()).unwrap().gw;
    assert_eq!(first, Some(ip("192.0.2.2")));
}

#[test]
fn preferred_sources_are_local() {
    let mut m = Machine::new();
    assert_eq!(m.refused(add(route("10.9.0.0/16", "eth0").from_src(ip("10.99.0.1")))), 22);
    m.ok(add(route("10.9.0.0/16", "eth0").from_src(ip("192.0.2.10"))));
}

#[test]
fn only_the_route_that_is_meant_is_deleted() {
    let mut m = Machine::new();
    let way = |gw| route("10.9.0.0/16", "eth0").via(ip(gw));
    m.ok(add(way("192.0.2.1"))).ok(add(way("192.0.2.2")));
    m.ok(delete(add(way("192.0.2.1"))));
    assert_eq!(m.refused(delete(add(way("192.0.2.1")))), 3);
    assert_eq!(m.refused(delete(add(way("192.0.2.2").in_table(7)))), 3);
    m.ok(delete(add(way("192.0.2.2"))));
}

#[test]
fn a_route_to_nowhere_has_no_link() {
    let mut m = Machine::new();
    let nowhere = Route { link: None, kind: RouteKind::Blackhole, ..route("10.9.0.0/16", "eth0") };
    m.ok(add(nowhere.clone()));
    assert_eq!(m.refused(add(nowhere.clone())), 17);
    assert_eq!(m.refused(add(Route { kind: RouteKind::Unicast, ..nowhere })), 19);
}

#[test]
fn a_link_that_goes_down_loses_routes_and_neighbours() {
    let mut m = Machine::new();
    let neighbour = Neighbour { link: name("eth0"), ip: ip("192.0.2.1"), mac: Mac([2; 6]) };
    let add_neighbour = Change { place: Place::Host, object: Object::Neighbour(Diff::create(neighbour)) };
    m.ok(add(route("10.9.0.0/16", "eth0"))).ok(add_neighbour).ok(down(Place::Host, "eth0"));
    let host = m.host();
    assert_eq!((host.routes, host.neighbours), (Vec::new(), Vec::new()));
}

#[test]
fn neighbours_are_known_by_link_and_address() {
    let mut m = Machine::new();
    let neighbour = |link: &str, mac| {
        let n = Neighbour { link: name(link), ip: ip("192.0.2.1"), mac: Mac([mac; 6]) };
        Change { place: Place::Host, object: Object::Neighbour(Diff::create(n)) }
    };
    assert_eq!(m.refused(neighbour("gone", 2)), 19);
    m.ok(neighbour("eth0", 2));
    assert_eq!(m.refused(neighbour("eth0", 4)), 17);
    m.ok(delete(neighbour("eth0", 2)));
    assert_eq!(m.refused(delete(neighbour("eth0", 2))), 2);
}

#[test]
fn rules_are_unique_and_the_kernels_are_there() {
    let mut m = Machine::new();
    let rule =
        Rule { family: Family::V4, priority: 500, from: None, to: None, iif: None, mark: None, table: 101 };
    assert_eq!(m.pod().rules.len(), 5);
    m.ok(Change::add_rule(Place::Pod, rule.clone()));
    assert_eq!(m.refused(Change::add_rule(Place::Pod, rule.clone())), 17);
    m.ok(delete(Change::add_rule(Place::Pod, rule.clone())));
    assert_eq!(m.refused(delete(Change::add_rule(Place::Pod, rule))), 2);
}
