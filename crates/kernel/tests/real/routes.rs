//! Routes with all their attributes.

use std::slice::from_ref;

use polynic_kernel::Errno;
use polynic_net::{Address, Change, Diff, IpNet, NextHop, Object, Place, Route, RouteKind, scope};

use crate::support::{Bench, ifb, name};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn route(dst: &str) -> Route {
    Route::new(net(dst), &name("i0"))
}

/// `i0` in the pod is up and has 10.0.0.2/24 and fd00::2/64.
fn bench() -> Option<Bench> {
    let mut bench = Bench::new()?;
    bench.apply(ifb(Place::Pod, "i0"));
    bench.apply(Change::up(Place::Pod, &name("i0")));
    for own in ["10.0.0.2/24", "fd00::2/64"] {
        let address = Address { nodad: true, ..Address::new(&name("i0"), net(own)) };
        bench.apply(Change::add_address(Place::Pod, address));
    }
    Some(bench)
}

fn routes_to(bench: &mut Bench, dst: &str) -> Vec<Route> {
    let all = bench.observe(|n| n.pod.routes = true).pod.unwrap().routes;
    all.into_iter().filter(|r| r.dst == net(dst)).collect()
}

#[test]
fn what_is_added_is_observed_and_can_be_removed() {
    let Some(mut bench) = bench() else { return };
    let v4 = "10.0.0.1".parse().unwrap();
    let v6 = "fd00::1".parse().unwrap();
    let routes = [
        route("0.0.0.0/0").via(v4),
        Route { priority: 77, ..route("10.1.0.0/16").via(v4) },
        route("10.2.0.0/16").via(v4).in_table(101),
        route("10.3.0.0/16").via(v4).in_table(4000),
        route("10.4.0.0/16").link_scope().from_src("10.0.0.2".parse().unwrap()),
        Route { mtu: 1400, advmss: 1300, ..route("10.5.0.0/16").via(v4) },
        Route { onlink: true, ..route("10.6.0.0/16").via("192.0.2.1".parse().unwrap()) },
        Route { kind: RouteKind::Blackhole, link: None, ..route("10.7.0.0/16") },
        Route { kind: RouteKind::Unreachable, link: None, ..route("10.8.0.0/16") },
        Route { protocol: 4, scope: scope::HOST, ..route("10.9.0.9/32") },
        route("10.10.0.0/16").via(v6),
        Route { priority: 1024, ..route("::/0").via(v6) },
        Route { priority: 5, mtu: 1400, ..route("fd01::/64").via(v6) },
        Route { priority: 1024, ..route("fd02::/64").via(v6).in_table(4000) },
        Route { priority: 1024, ..route("fd03::/64").from_src("fd00::2".parse().unwrap()) },
    ];
    for route in routes {
        let change = Change::add_route(Place::Pod, route.clone());
        bench.apply(change.clone());
        assert_eq!(routes_to(&mut bench, &route.dst.to_string()), from_ref(&route));
        assert_eq!(bench.errno(change.clone()), Errno::EEXIST, "{route}");
        bench.apply(change.clone().inverse().unwrap());
        assert_eq!(routes_to(&mut bench, &route.dst.to_string()), []);
        assert!(bench.fail(change.inverse().unwrap()).is_absent(), "{route}");
    }
}

#[test]
fn a_new_ipv4_route_stands_before_older_ones() {
    let Some(mut bench) = bench() else { return };
    let via = |gw: &str| route("10.1.0.0/16").via(gw.parse().unwrap());
    bench.apply(Change::add_route(Place::Pod, via("10.0.0.1")));
    bench.apply(Change::add_route(Place::Pod, via("10.0.0.9")));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), [via("10.0.0.9"), via("10.0.0.1")]);
    bench.apply(Change::delete_route(Place::Pod, via("10.0.0.1")));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), [via("10.0.0.9")]);
}

/// The kernel takes and gives up such a route as a whole.
#[test]
fn ipv4_next_hops_of_one_route_are_one_route() {
    let Some(mut bench) = bench() else { return };
    bench.apply(ifb(Place::Pod, "i1"));
    bench.apply(Change::up(Place::Pod, &name("i1")));
    bench.apply(Change::add_address(Place::Pod, Address::new(&name("i1"), net("10.20.0.2/24"))));
    let hop = |link: &str, gw: &str, weight| NextHop {
        link: name(link),
        gw: Some(gw.parse().unwrap()),
        onlink: false,
        weight,
    };
    let both = Route {
        weight: 3,
        mtu: 1400,
        more: vec![hop("i1", "10.20.0.1", 1), hop("i1", "10.20.0.9", 0)],
        ..route("10.1.0.0/16").via("10.0.0.1".parse().unwrap())
    };
    bench.apply(Change::add_route(Place::Pod, both.clone()));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), from_ref(&both));
    let seen = bench.observe(|n| n.pod.routes_on = vec![name("i1")]).pod.unwrap().routes;
    assert!(seen.contains(&both), "{seen:?}");
    // One of its hops is not this route.
    let single = both.through(|hop| hop.link == name("i1")).unwrap();
    assert!(bench.fail(Change::delete_route(Place::Pod, single.clone())).is_absent());
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), from_ref(&both));
    bench.apply(Change::delete_route(Place::Pod, both.clone()));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), []);
    bench.apply(Change::add_route(Place::Pod, single.clone()));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), from_ref(&single));
    let onlink = Route {
        onlink: true,
        more: vec![NextHop { onlink: true, ..hop("i1", "192.0.2.2", 0) }],
        ..route("10.2.0.0/16").via("192.0.2.1".parse().unwrap())
    };
    bench.apply(Change::add_route(Place::Pod, onlink.clone()));
    assert_eq!(routes_to(&mut bench, "10.2.0.0/16"), from_ref(&onlink));
}

#[test]
fn ipv6_next_hops_of_one_destination_are_seen_one_by_one() {
    let Some(mut bench) = bench() else { return };
    let via = |gw: &str| Route { priority: 1024, ..route("fd01::/64").via(gw.parse().unwrap()) };
    bench.apply(Change::add_route(Place::Pod, via("fd00::8")));
    bench.apply(Change::add_route(Place::Pod, via("fd00::9")));
    let found = routes_to(&mut bench, "fd01::/64");
    assert_eq!(found.len(), 2);
    assert!(found.contains(&via("fd00::8")) && found.contains(&via("fd00::9")), "{found:?}");
    bench.apply(Change::delete_route(Place::Pod, via("fd00::8")));
    assert_eq!(routes_to(&mut bench, "fd01::/64"), [via("fd00::9")]);
}

#[test]
fn a_route_is_replaced_in_place_or_moved() {
    let Some(mut bench) = bench() else { return };
    let old = route("10.1.0.0/16").via("10.0.0.1".parse().unwrap());
    let new = route("10.1.0.0/16").via("10.0.0.9".parse().unwrap());
    let moved = new.clone().in_table(101);
    let replace = |a: &Route, b: &Route| Change {
        place: Place::Pod,
        object: Object::Route(Diff::replace(a.clone(), b.clone())),
    };
    assert!(bench.fail(replace(&old, &new)).is_absent(), "nothing to replace");
    bench.apply(Change::add_route(Place::Pod, old.clone()));
    bench.apply(replace(&old, &new));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), from_ref(&new));
    bench.apply(replace(&new, &moved));
    assert_eq!(routes_to(&mut bench, "10.1.0.0/16"), [moved]);
}

#[test]
fn an_unreachable_next_hop_is_refused() {
    let Some(mut bench) = bench() else { return };
    let error =
        bench.fail(Change::add_route(Place::Pod, route("10.1.0.0/16").via("192.0.2.1".parse().unwrap())));
    assert_eq!(error.errno(), Some(Errno::ENETUNREACH));
    assert_eq!(
        error.to_string(),
        "add route 10.1.0.0/16 via 192.0.2.1 dev i0 in pod: Network is unreachable (Nexthop has invalid gateway)"
    );
}

#[test]
fn the_kernels_own_routes_are_seen_but_not_its_local_table() {
    let Some(mut bench) = bench() else { return };
    let all = bench.observe(|n| n.pod.routes = true).pod.unwrap().routes;
    let own: Vec<_> = all.iter().map(|r| (r.dst.to_string(), r.protocol)).collect();
    assert!(own.contains(&("10.0.0.0/24".into(), 2)), "{own:?}");
    assert!(own.contains(&("fd00::/64".into(), 2)), "{own:?}");
    assert!(all.iter().all(|r| r.table != 255));
}
