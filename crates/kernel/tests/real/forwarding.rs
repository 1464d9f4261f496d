//! Forwarding entries of tunnels, and the ways that the kernel would take.

use polynic_kernel::Errno;
use polynic_net::{Address, Change, Diff, Forwarding, Link, LinkKind, Mac, Object, Place, Route, Vxlan, Way};

use crate::support::{Bench, name};

fn tunnel(link: &str, vni: u32) -> Change {
    let local = Some("10.0.0.1".parse().unwrap());
    let vxlan = Vxlan { vni, parent: None, local, remote: None, port: 0, learning: false, gbp: false };
    Change::create_link(Place::Pod, Link::new(name(link), LinkKind::Vxlan(vxlan)))
}

#[test]
fn entries_come_change_and_go_and_each_tunnel_has_its_own() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply_all([tunnel("vx1", 1), tunnel("vx2", 2)]);
    let change = |diff| Change { place: Place::Pod, object: Object::Forwarding(diff) };
    let entry = |link: &str, dst: &str| Forwarding {
        link: name(link),
        mac: Mac([2, 0, 0, 0, 0, 7]),
        dst: dst.parse().unwrap(),
    };
    let (first, second) = (entry("vx1", "192.0.2.1"), entry("vx1", "192.0.2.2"));
    bench.apply(change(Diff::create(first.clone())));
    assert_eq!(bench.errno(change(Diff::create(second.clone()))), Errno::EEXIST);
    bench.apply(change(Diff::create(entry("vx2", "192.0.2.9"))));
    bench.apply(change(Diff::replace(first.clone(), second.clone())));
    let seen =
        |bench: &mut Bench| bench.observe(|n| n.pod.forwarding_of(&name("vx1"))).pod.unwrap().forwarding;
    assert_eq!(seen(&mut bench), std::slice::from_ref(&second));
    // The kernel says nothing when the endpoint is another one, and leaves the entry.
    bench.apply(change(Diff::delete(first)));
    assert_eq!(seen(&mut bench), std::slice::from_ref(&second));
    bench.apply(change(Diff::delete(second.clone())));
    assert_eq!(seen(&mut bench), []);
    assert!(bench.fail(change(Diff::delete(second))).is_absent());
}

#[test]
fn one_network_has_one_tunnel_per_port() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(tunnel("vx1", 1));
    assert_eq!(bench.errno(tunnel("vx2", 1)), Errno::EEXIST);
    assert_eq!(bench.link(Place::Pod, "vx1").unwrap().vxlan.unwrap().port, 8472);
}

#[test]
fn ways_name_link_next_hop_and_source() {
    let Some(mut bench) = Bench::new() else { return };
    bench.cable("net1", "veth1");
    let net1 = name("net1");
    bench.apply(Change::add_address(Place::Pod, Address::new(&net1, "10.0.0.2/24".parse().unwrap())));
    let far = Route::new("192.0.2.0/24".parse().unwrap(), &net1).via("10.0.0.1".parse().unwrap());
    bench.apply(Change::add_route(Place::Pod, far));
    let ips = ["10.0.0.9", "192.0.2.5", "203.0.113.1"].map(|ip| ip.parse().unwrap());
    let ways = bench.observe(|n| n.pod.ways = ips.to_vec()).pod.unwrap().ways;
    let way = |gw: Option<&str>| Way {
        link: net1.clone(),
        gw: gw.map(|gw| gw.parse().unwrap()),
        src: Some("10.0.0.2".parse().unwrap()),
    };
    assert_eq!(ways.get(&ips[0]), Some(&way(None)));
    assert_eq!(ways.get(&ips[1]), Some(&way(Some("10.0.0.1"))));
    assert_eq!(ways.get(&ips[2]), None);
}
