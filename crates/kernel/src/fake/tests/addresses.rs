//! Addresses and connected routes.

use polynic_net::{Family, scope};

use super::*;

fn v4_routes(ns: &NsFacts) -> Vec<String> {
    ns.routes.iter().filter(|r| r.family() == Family::V4).map(ToString::to_string).collect()
}

#[test]
fn addresses_need_their_link_and_are_unique_on_it() {
    let mut m = Machine::new();
    assert_eq!(m.refused(address(Place::Pod, "net1", "10.1.0.2/24")), 19);
    m.ok(veth()).ok(address(Place::Pod, "net1", "10.1.0.2/24")).ok(address(Place::Pod, "net1", "fd00::2/64"));
    assert_eq!(m.refused(address(Place::Pod, "net1", "10.1.0.2/24")), 17);
    m.ok(address(Place::Pod, "net1", "10.1.0.2/16"));
    assert_eq!(m.refused(address(Place::Pod, "net1", "fd00::2/48")), 17, "IPv6 does not look at the mask");
    assert_eq!(m.refused(delete(address(Place::Pod, "net1", "10.1.0.9/24"))), 99);
}

#[test]
fn connected_routes_live_while_address_and_link_do() {
    let mut m = Machine::new();
    let net = address(Place::Pod, "net1", "10.1.0.2/24");
    m.ok(veth()).ok(net.clone());
    assert_eq!(v4_routes(&m.pod()), Vec::<String>::new());
    m.ok(up(Place::Pod, "net1"));
    let pod = m.pod();
    let connected = pod.routes.iter().find(|r| r.family() == Family::V4).unwrap();
    assert_eq!((connected.protocol, connected.scope), (2, scope::LINK));
    assert_eq!(connected.src, Some("10.1.0.2".parse().unwrap()));
    m.ok(down(Place::Pod, "net1"));
    assert_eq!(v4_routes(&m.pod()), Vec::<String>::new());
    m.ok(up(Place::Pod, "net1")).ok(delete(net));
    assert_eq!(v4_routes(&m.pod()), Vec::<String>::new());
}

#[test]
fn ipv6_connects_with_its_own_metric_and_single_hosts_too() {
    let mut m = Machine::new();
    m.ok(veth()).ok(up(Place::Pod, "net1"));
    m.ok(address(Place::Pod, "net1", "fd00::2/64")).ok(address(Place::Pod, "net1", "fd01::1/128"));
    m.ok(address(Place::Pod, "net1", "10.1.0.2/32"));
    let mut routes: Vec<_> = m.pod().routes.iter().map(|r| (r.dst.to_string(), r.priority)).collect();
    routes.sort();
    assert_eq!(routes, [("fd00::/64".to_owned(), 256), ("fd01::1/128".to_owned(), 256)]);
}

#[test]
fn a_deleted_connected_route_stays_deleted() {
    let mut m = Machine::new();
    let connected = m.host().routes.iter().find(|r| r.family() == Family::V4).cloned().unwrap();
    m.ok(Change::delete_route(Place::Host, connected)).ok(address(Place::Host, "eth0", "192.0.2.11/24"));
    assert_eq!(v4_routes(&m.host()), Vec::<String>::new());
}

#[test]
fn secondary_addresses_go_with_the_primary_unless_promoted() {
    for promote in [false, true] {
        let mut m = Machine::new();
        m.door.host(|host| {
            host.address("eth0", "198.51.100.1/24").address("eth0", "192.0.2.11/24");
            if promote {
                host.sysctl("net/ipv4/conf/eth0/promote_secondaries", "1");
            }
        });
        m.ok(delete(address(Place::Host, "eth0", "192.0.2.10/24")));
        let kept = m.host().addresses.iter().any(|a| a.net == "192.0.2.11/24".parse().unwrap());
        assert_eq!(kept, promote);
        assert_eq!(v4_routes(&m.host()).contains(&"192.0.2.0/24 dev eth0".to_owned()), promote);
    }
}

#[test]
fn the_last_ipv4_address_takes_all_ipv4_routes_of_its_link() {
    let mut m = Machine::new();
    m.ok(Change::add_route(Place::Host, route("203.0.113.0/24", "eth0").link_scope()));
    m.ok(delete(address(Place::Host, "eth0", "192.0.2.10/24")));
    assert_eq!(v4_routes(&m.host()), Vec::<String>::new());
}

#[test]
fn routes_lose_with_their_source() {
    let mut m = Machine::new();
    m.ok(address(Place::Host, "eth0", "198.51.100.1/32"));
    let from = route("203.0.113.0/24", "eth0").from_src("198.51.100.1".parse().unwrap());
    m.ok(Change::add_route(Place::Host, from)).ok(delete(address(Place::Host, "eth0", "198.51.100.1/32")));
    assert_eq!(v4_routes(&m.host()), ["192.0.2.0/24 dev eth0"]);
}

#[test]
fn ipv6_addresses_survive_a_link_that_is_down_only_if_told_to() {
    for keep in ["0", "1"] {
        let mut m = Machine::new();
        m.door.host(|host| {
            host.address("eth0", "fd00::1/64").sysctl("net/ipv6/conf/eth0/keep_addr_on_down", keep);
        });
        m.ok(down(Place::Host, "eth0"));
        let held: Vec<String> = m.host().addresses.iter().map(|a| a.net.to_string()).collect();
        let expected: &[&str] =
            if keep == "1" { &["192.0.2.10/24", "fd00::1/64"] } else { &["192.0.2.10/24"] };
        assert_eq!(held, expected);
    }
}

#[test]
fn loopback_numbers_itself() {
    let mut m = Machine::new();
    m.ok(up(Place::Pod, "lo"));
    let held = |m: &mut Machine| m.pod().addresses.iter().map(|a| a.net.to_string()).collect::<Vec<_>>();
    assert_eq!(held(&mut m), ["127.0.0.1/8", "::1/128"]);
    assert_eq!(m.pod().addresses[0].scope, scope::HOST);
    m.ok(down(Place::Pod, "lo"));
    assert_eq!(held(&mut m), ["127.0.0.1/8"]);
}

#[test]
fn an_operational_link_gets_a_link_local_address() {
    let mut m = Machine::new();
    m.ok(veth()).ok(up(Place::Pod, "net1"));
    assert_eq!(m.pod().addresses, []);
    m.ok(up(Place::Host, "veth1"));
    let pod = m.pod();
    assert_eq!(pod.addresses.len(), 1);
    assert_eq!(pod.addresses[0].scope, scope::LINK);
    assert!(!pod.addresses[0].is_global());
}
