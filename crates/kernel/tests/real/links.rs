//! Every kind of link.

use polynic_kernel::Errno;
use polynic_kernel::testing::say_skipped;
use polynic_net::{Change, Link, LinkKind, LinkRef, Mac, MacvlanMode, Place, Tap, Veth, Vxlan, VxlanFact};

use crate::support::{Bench, filtering_bridge, ifb, macvlan_on, name, remove_link, veth};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

#[test]
fn a_veth_pair_spans_the_namespaces() {
    let Some(mut bench) = Bench::new() else { return };
    let peer = Veth { place: Place::Host, name: name("veth1"), mac: Some(Mac([2; 6])), mtu: Some(1300) };
    let link = Link { mac: Some(MAC), mtu: Some(1300), ..Link::new(name("eth0"), LinkKind::Veth(peer)) };
    bench.apply(Change::create_link(Place::Pod, link));
    let inner = bench.link(Place::Pod, "eth0").unwrap();
    let outer = bench.link(Place::Host, "veth1").unwrap();
    assert_eq!((inner.kind.as_str(), inner.mac, inner.mtu), ("veth", Some(MAC), 1300));
    assert_eq!((outer.mac, outer.mtu), (Some(Mac([2; 6])), 1300));
    assert_eq!((inner.peer, outer.peer), (Some(outer.index), Some(inner.index)));
    assert!(inner.peer_netns.is_some());
    assert!(!inner.up, "links are made down");
}

#[test]
fn a_veth_pair_may_be_in_one_namespace() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Host, "a", Place::Host, "b"));
    let (a, b) = (bench.link(Place::Host, "a").unwrap(), bench.link(Place::Host, "b").unwrap());
    assert_eq!((a.peer, a.peer_netns), (Some(b.index), None));
    assert_eq!(bench.link(Place::Pod, "a"), None);
}

#[test]
fn deleting_one_end_deletes_both() {
    let Some(mut bench) = Bench::new() else { return };
    let create = veth(Place::Pod, "eth0", Place::Host, "veth1");
    bench.apply(create.clone());
    bench.apply(create.clone().inverse().unwrap());
    assert_eq!(bench.link(Place::Host, "veth1"), None);
    let error = bench.fail(create.inverse().unwrap());
    assert_eq!(error.errno(), Some(Errno::ENODEV));
    assert!(error.is_absent());
}

#[test]
fn a_taken_name_is_refused_at_either_end() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Pod, "eth0", Place::Host, "veth1"));
    assert_eq!(bench.errno(veth(Place::Pod, "eth0", Place::Host, "veth2")), Errno::EEXIST);
    assert_eq!(bench.errno(veth(Place::Pod, "eth1", Place::Host, "veth1")), Errno::EEXIST);
    assert_eq!(bench.link(Place::Host, "veth2"), None);
    assert_eq!(bench.link(Place::Pod, "eth1"), None);
}

#[test]
fn a_bridge_has_its_mtu_and_filters_no_vlans() {
    let Some(mut bench) = Bench::new() else { return };
    let link = Link { mtu: Some(1400), ..Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: false }) };
    bench.apply(Change::create_link(Place::Host, link));
    let fact = bench.link(Place::Host, "br0").unwrap();
    assert_eq!((fact.kind.as_str(), fact.mtu), ("bridge", 1400));
    assert_ne!(fact.vlan_filtering, Some(true));
}

#[test]
fn a_bridge_filters_vlans_when_asked() {
    let Some(mut bench) = Bench::new() else { return };
    if filtering_bridge(&mut bench, "br0") {
        assert_eq!(bench.link(Place::Pod, "br0").unwrap().vlan_filtering, Some(true));
    }
}

#[test]
fn macvlans_of_every_mode_go_straight_to_the_pod() {
    let Some(mut bench) = Bench::new() else { return };
    let modes = [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge];
    bench.apply(veth(Place::Host, "p0", Place::Host, "p1"));
    for (i, mode) in modes.into_iter().enumerate() {
        let link =
            Link::new(name(&format!("net{i}")), LinkKind::Macvlan(macvlan_on(Place::Host, "p0", mode)));
        bench.apply(Change::create_link(Place::Pod, link.clone()));
        let fact = bench.link(Place::Pod, link.name.as_str()).unwrap();
        assert_eq!((fact.kind.as_str(), fact.macvlan_mode), ("macvlan", Some(mode)));
        assert_eq!(fact.peer, Some(bench.link(Place::Host, "p0").unwrap().index));
        bench.apply(remove_link(Place::Pod, link));
    }
    let passthru = macvlan_on(Place::Host, "p1", MacvlanMode::Passthru);
    bench.apply(Change::create_link(Place::Pod, Link::new(name("net9"), LinkKind::Macvlan(passthru))));
    assert_eq!(bench.link(Place::Pod, "net9").unwrap().macvlan_mode, Some(MacvlanMode::Passthru));
}

#[test]
fn a_macvlan_keeps_mac_mtu_and_queue() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Host, "p0"));
    let mut parent = macvlan_on(Place::Host, "p0", MacvlanMode::Bridge);
    parent.bc_queue_len = Some(4000);
    let link = Link { mac: Some(MAC), mtu: Some(1280), ..Link::new(name("net1"), LinkKind::Macvlan(parent)) };
    bench.apply(Change::create_link(Place::Pod, link));
    let fact = bench.link(Place::Pod, "net1").unwrap();
    assert_eq!((fact.mac, fact.mtu), (Some(MAC), 1280));
}

#[test]
fn a_macvlans_parent_may_be_in_the_pod() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "p0"));
    let parent = macvlan_on(Place::Pod, "p0", MacvlanMode::Bridge);
    bench.apply(Change::create_link(Place::Pod, Link::new(name("net1"), LinkKind::Macvlan(parent))));
    let fact = bench.link(Place::Pod, "net1").unwrap();
    assert_eq!(fact.peer, Some(bench.link(Place::Pod, "p0").unwrap().index));
    assert_eq!(fact.peer_netns, None);
}

#[test]
fn a_pods_link_may_be_called_as_one_of_the_hosts() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Host, "eth0"));
    let parent = macvlan_on(Place::Host, "eth0", MacvlanMode::Bridge);
    let link = Link::new(name("eth0"), LinkKind::Macvlan(parent));
    bench.apply(Change::create_link(Place::Pod, link.clone()));
    assert_eq!(bench.link(Place::Pod, "eth0").unwrap().kind, "macvlan");
    assert_eq!(bench.link(Place::Host, "eth0").unwrap().kind, "ifb");
    assert_eq!(bench.errno(Change::create_link(Place::Pod, link)), Errno::EEXIST);
    assert_eq!(bench.all_links(Place::Pod).len(), 2, "nothing under another name is left");
}

#[test]
fn a_macvlan_without_parent_is_refused_by_name() {
    let Some(mut bench) = Bench::new() else { return };
    let parent = macvlan_on(Place::Host, "nowhere", MacvlanMode::Bridge);
    let error =
        bench.fail(Change::create_link(Place::Pod, Link::new(name("net1"), LinkKind::Macvlan(parent))));
    assert_eq!(error.errno(), Some(Errno::ENODEV));
    assert!(error.to_string().starts_with("add link macvlan net1 in pod: No such device"), "{error}");
}

#[test]
fn a_macvtap_is_made_like_a_macvlan() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Host, "p0"));
    let parent = macvlan_on(Place::Host, "p0", MacvlanMode::Vepa);
    bench.apply(Change::create_link(Place::Pod, Link::new(name("tap1"), LinkKind::Macvtap(parent))));
    let fact = bench.link(Place::Pod, "tap1").unwrap();
    assert_eq!((fact.kind.as_str(), fact.macvlan_mode), ("macvtap", Some(MacvlanMode::Vepa)));
}

#[test]
fn a_vxlan_sits_on_its_parent() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Host, "p0"));
    let vxlan = Vxlan {
        vni: 4711,
        parent: Some(LinkRef { place: Place::Host, name: name("p0") }),
        local: Some("10.0.0.1".parse().unwrap()),
        remote: None,
        port: 8472,
        learning: false,
        gbp: false,
    };
    let link = Link { mac: Some(MAC), ..Link::new(name("flannel.1"), LinkKind::Vxlan(vxlan)) };
    bench.apply(Change::create_link(Place::Host, link));
    let fact = bench.link(Place::Host, "flannel.1").unwrap();
    assert_eq!((fact.kind.as_str(), fact.mac, fact.mtu), ("vxlan", Some(MAC), 1450));
    let parent = bench.link(Place::Host, "p0").map(|link| link.index);
    let local = Some("10.0.0.1".parse().unwrap());
    let seen = VxlanFact { vni: 4711, parent, local, port: 8472, ..VxlanFact::default() };
    assert_eq!(fact.vxlan, Some(seen));
}

#[test]
fn a_tap_persists_and_is_not_taken_over() {
    let Some(mut bench) = Bench::new() else { return };
    if std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        return say_skipped("/dev/net/tun cannot be opened by this user");
    }
    let tap = Tap { owner: Some(0), group: Some(0), multi_queue: false, vnet_hdr: true };
    let link = Link { mac: Some(MAC), mtu: Some(1400), ..Link::new(name("tap0"), LinkKind::Tap(tap)) };
    bench.apply(Change::create_link(Place::Pod, link.clone()));
    let fact = bench.link(Place::Pod, "tap0").unwrap();
    assert_eq!((fact.kind.as_str(), fact.mac, fact.mtu), ("tun", Some(MAC), 1400));
    assert_eq!(bench.link(Place::Host, "tap0"), None);
    assert_eq!(bench.errno(Change::create_link(Place::Pod, link.clone())), Errno::EEXIST);
    bench.apply(remove_link(Place::Pod, link));
    assert_eq!(bench.link(Place::Pod, "tap0"), None);
}

#[test]
fn a_name_that_came_back_means_the_new_link() {
    let Some(mut bench) = Bench::new() else { return };
    let address = |net: &str| {
        Change::add_address(Place::Pod, polynic_net::Address::new(&name("i0"), net.parse().unwrap()))
    };
    bench.apply(ifb(Place::Pod, "i0"));
    bench.apply(address("10.0.0.1/24"));
    // Somebody else replaces the link behind our back.
    let pod = bench.scratch.path.clone();
    let mut other = polynic_kernel::Door::open(&polynic_kernel::RealDoor::default(), Some(&pod)).unwrap();
    other.apply(&ifb(Place::Pod, "i0").inverse().unwrap()).unwrap();
    other.apply(&ifb(Place::Pod, "i0")).unwrap();
    bench.apply(address("10.0.0.2/24"));
    let facts = bench.observe(|n| n.pod.addresses.push(name("i0")));
    assert_eq!(facts.pod.unwrap().addresses.len(), 1);
}
