//! What is known of single addresses, without the lists of what is known of all.

use std::net::IpAddr;

use polynic_kernel::testing::received;
use polynic_net::{
    Address, Change, Destination, Family, IpNet, Mac, Neighbour, NsFacts, Place, Route, Rule, TABLE_MAIN,
};

use crate::support::{Bench, name};

const TABLE: u32 = 500;
const ADDRESSES: [&str; 2] = ["10.9.0.7", "fd00:9::7"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node with a cable to its pod, and its default routes by another link.
fn node() -> Option<Bench> {
    let mut bench = Bench::new()?;
    bench.cable("veth0", "vethpod");
    bench.cable("wire", "eth0");
    for (net, gateway) in [("192.0.2.2/24", "192.0.2.1"), ("2001:db8::2/64", "2001:db8::1")] {
        let address = Address { nodad: true, ..Address::new(&name("eth0"), net.parse().unwrap()) };
        bench.apply(Change::add_address(Place::Host, address));
        let any = if net.contains(':') { "::/0" } else { "0.0.0.0/0" };
        let default = Route::new(any.parse().unwrap(), &name("eth0")).via(ip(gateway));
        bench.apply(Change::add_route(Place::Host, default));
    }
    Some(bench)
}

fn look_first(bench: &mut Bench, family: Family) {
    let (from, to, iif, mark) = (None, None, None, None);
    let rule = Rule { family, priority: 1000, from, to, iif, mark, table: TABLE };
    bench.apply(Change::add_rule(Place::Host, rule));
}

fn know(bench: &mut Bench, link: &str, address: &str, table: u32) -> (Route, Neighbour) {
    let route = Route::new(IpNet::from(ip(address)), &name(link)).link_scope().in_table(table);
    let neighbour = Neighbour { link: name(link), ip: ip(address), mac: Mac([2, 0, 0, 0, 0, 9]) };
    bench.apply(Change::add_route(Place::Host, route.clone()));
    bench.apply(Change::add_neighbour(Place::Host, neighbour.clone()));
    (route, neighbour)
}

fn known(bench: &mut Bench, address: &str, table: u32, links: &[u32]) -> NsFacts {
    let destination = Destination { ip: ip(address), table, links: links.to_vec() };
    bench.observe(|n| n.host.destinations.push(destination)).host
}

#[test]
fn a_route_of_the_table_and_its_neighbour_are_found_with_and_without_the_rule() {
    let Some(mut bench) = node() else { return };
    for address in ADDRESSES {
        assert_eq!(known(&mut bench, address, TABLE, &[]), NsFacts::default(), "no table yet");
        let (route, neighbour) = know(&mut bench, "vethpod", address, TABLE);
        for with_rule in [false, true] {
            if with_rule {
                look_first(&mut bench, Family::of(ip(address)));
            }
            let facts = known(&mut bench, address, TABLE, &[]);
            assert_eq!(facts.routes.len(), 1, "{facts:?}");
            assert_eq!((&facts.routes[0].dst, &facts.routes[0].link), (&route.dst, &route.link));
            assert_eq!(facts.neighbours.as_slice(), std::slice::from_ref(&neighbour));
        }
    }
}

#[test]
fn another_table_and_a_wider_route_are_no_answer() {
    let Some(mut bench) = node() else { return };
    for address in ADDRESSES {
        look_first(&mut bench, Family::of(ip(address)));
        know(&mut bench, "vethpod", address, TABLE_MAIN);
        assert_eq!(known(&mut bench, address, TABLE, &[]).routes, []);
        assert_eq!(known(&mut bench, address, TABLE_MAIN, &[]).routes.len(), 1);
        let net = if address.contains(':') { "fd00:9::/64" } else { "10.9.0.0/24" };
        let wide = Route::new(net.parse().unwrap(), &name("vethpod")).link_scope().in_table(TABLE);
        bench.apply(Change::add_route(Place::Host, wide));
        assert_eq!(known(&mut bench, address, TABLE, &[]).routes, []);
    }
}

#[test]
fn neighbours_are_those_of_the_address_on_its_ways_and_on_the_links_asked_for() {
    let Some(mut bench) = node() else { return };
    let index = bench.link(Place::Host, "vethpod").unwrap().index;
    for address in ADDRESSES {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        for link in ["vethpod", "eth0"] {
            let neighbour = Neighbour { link: name(link), ip: ip(address), mac };
            bench.apply(Change::add_neighbour(Place::Host, neighbour));
        }
        let links = |facts: NsFacts| facts.neighbours.into_iter().map(|n| n.link).collect::<Vec<_>>();
        assert_eq!(links(known(&mut bench, address, TABLE, &[])), [name("eth0")]);
        let mut both = links(known(&mut bench, address, TABLE, &[index, 9999]));
        both.sort();
        assert_eq!(both, [name("eth0"), name("vethpod")]);
    }
}

#[test]
fn routes_and_neighbours_of_one_link_are_asked_for_alone() {
    let Some(mut bench) = node() else { return };
    let (route, neighbour) = know(&mut bench, "vethpod", ADDRESSES[0], TABLE);
    let facts = bench.observe(|n| {
        n.host.routes_through(&name("vethpod"));
        n.host.routes_through(&name("nowhere"));
        n.host.neighbours_of.push((name("vethpod"), ip(ADDRESSES[0])));
        n.host.neighbours_of.push((name("vethpod"), ip(ADDRESSES[1])));
        n.host.neighbours_of.push((name("nowhere"), ip(ADDRESSES[0])));
    });
    let host = facts.host;
    assert!(host.routes.iter().any(|r| r.dst == route.dst && r.table == TABLE), "{:?}", host.routes);
    assert!(host.routes.iter().all(|r| r.link.as_ref() == Some(&name("vethpod"))), "{:?}", host.routes);
    assert_eq!(host.neighbours, [neighbour]);
}

#[test]
fn links_are_found_by_index_and_addresses_by_family() {
    let Some(mut bench) = node() else { return };
    let index = bench.link(Place::Host, "eth0").unwrap().index;
    let facts = bench.observe(|n| {
        n.host.link(&name("eth0"));
        n.host.links_at = vec![index, 9999];
        n.host.global_addresses = vec![Family::V6];
    });
    assert_eq!(facts.host.links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
    let addresses: Vec<String> = facts.host.addresses.iter().map(|a| a.net.to_string()).collect();
    assert_eq!(addresses, ["2001:db8::2/64"]);
}

#[test]
fn a_table_with_many_routes_is_not_listed_for_an_address_that_it_does_not_have() {
    let Some(mut bench) = node() else { return };
    look_first(&mut bench, Family::V4);
    for i in 0..200 {
        let route = Route::new(IpNet::from(ip(&format!("10.8.0.{i}"))), &name("vethpod"));
        bench.apply(Change::add_route(Place::Host, route.link_scope().in_table(TABLE)));
    }
    let before = received().messages;
    assert_eq!(known(&mut bench, ADDRESSES[0], TABLE, &[]).routes, []);
    let asked = received().messages - before;
    assert!(asked < 50, "{asked} messages");
}
