//! Links.

use polynic_net::{Mac, OperState, PortVlan};

use super::*;

#[test]
fn a_new_namespace_has_a_loopback_link_that_is_down() {
    let links = Machine::new().pod().links;
    assert_eq!(links.len(), 1);
    assert!(links[0].loopback && !links[0].up && links[0].index == 1);
}

#[test]
fn names_are_unique_per_namespace() {
    let mut m = Machine::new();
    m.ok(veth());
    assert_eq!(m.refused(veth()), 17);
    assert_eq!(m.refused(Change::create_link(Place::Host, Link::new(name("eth0"), LinkKind::Ifb))), 17);
    m.ok(Change::create_link(Place::Host, Link::new(name("net1"), LinkKind::Ifb)));
}

#[test]
fn a_taken_peer_name_leaves_neither_end() {
    let mut m = Machine::new();
    m.ok(Change::create_link(Place::Host, Link::new(name("veth1"), LinkKind::Ifb)));
    assert_eq!(m.refused(veth()), 17);
    assert!(m.pod().link(&name("net1")).is_none());
}

#[test]
fn a_pair_sees_each_other_and_goes_together() {
    let mut m = Machine::new();
    m.ok(veth());
    let (host, pod) = (m.host(), m.pod());
    let (near, far) = (pod.link(&name("net1")).unwrap(), host.link(&name("veth1")).unwrap());
    assert_eq!((near.peer, far.peer), (Some(far.index), Some(near.index)));
    assert!(near.peer_netns.is_some());
    m.kernel.delete_links(Place::Host, &[name("veth1"), name("gone")]).unwrap();
    assert!(m.pod().link(&name("net1")).is_none());
}

#[test]
fn a_peer_without_an_mtu_gets_the_default() {
    let mut m = Machine::new();
    let peer = Veth { place: Place::Host, name: name("veth1"), mac: None, mtu: None };
    let link = Link { mtu: Some(1400), ..Link::new(name("net1"), LinkKind::Veth(peer)) };
    m.ok(Change::create_link(Place::Pod, link));
    assert_eq!(m.pod().link(&name("net1")).unwrap().mtu, 1400);
    assert_eq!(m.host().link(&name("veth1")).unwrap().mtu, 1500);
}

#[test]
fn a_pair_is_operational_when_both_ends_are_up() {
    let mut m = Machine::new();
    m.ok(veth()).ok(up(Place::Host, "veth1"));
    assert_eq!(m.host().link(&name("veth1")).unwrap().oper, OperState::LowerLayerDown);
    assert_eq!(m.pod().link(&name("net1")).unwrap().oper, OperState::Down);
    m.ok(up(Place::Pod, "net1"));
    assert_eq!(m.host().link(&name("veth1")).unwrap().oper, OperState::Up);
}

#[test]
fn hardware_and_loopback_cannot_be_deleted() {
    let mut m = Machine::new();
    for link in ["lo", "eth0"] {
        let change = delete(Change::create_link(Place::Host, Link::new(name(link), LinkKind::Ifb)));
        assert_eq!(m.refused(change), 95);
    }
}

#[test]
fn parents_and_masters_must_exist_and_be_fit() {
    let mut m = Machine::new();
    let parent = LinkRef { place: Place::Host, name: name("gone") };
    let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
    assert_eq!(m.refused(Change::create_link(Place::Pod, Link::new(name("net1"), kind))), 19);
    assert_eq!(m.refused(enslave("eth0")), 19);
    m.ok(bridge()).ok(veth()).ok(Change::create_link(Place::Pod, macvlan("net2", MacvlanMode::Bridge)));
    assert_eq!(m.refused(enslave("lo")), 22);
    assert_eq!(m.refused(enslave("eth0")), 16, "the parent of a macvlan");
    let onto_veth = Attr::Master(Some(name("veth1")));
    assert_eq!(m.refused(Change::attr(Place::Host, &name("br0"), Attr::Master(None), onto_veth)), 95);
}

#[test]
fn a_macvlan_dies_with_its_parent() {
    let mut m = Machine::new();
    let parent = LinkRef { place: Place::Host, name: name("veth1") };
    let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
    m.ok(veth()).ok(Change::create_link(Place::Host, Link::new(name("net2"), kind)));
    m.ok(delete(veth()));
    assert!(m.host().link(&name("net2")).is_none());
}

#[test]
fn a_station_in_passthru_is_alone() {
    let mut m = Machine::new();
    m.ok(Change::create_link(Place::Pod, macvlan("net1", MacvlanMode::Private)));
    assert_eq!(m.refused(Change::create_link(Place::Pod, macvlan("net2", MacvlanMode::Passthru))), 22);
    m.ok(Change::create_link(Place::Pod, macvlan("net2", MacvlanMode::Private)));
}

#[test]
fn a_station_has_at_most_its_parents_mtu() {
    let mut m = Machine::new();
    let too_big = Link { mtu: Some(1501), ..macvlan("net1", MacvlanMode::Bridge) };
    assert_eq!(m.refused(Change::create_link(Place::Pod, too_big)), 22);
    m.ok(Change::create_link(Place::Pod, macvlan("net1", MacvlanMode::Bridge)));
    let mtu = |place, link, from, to| Change::attr(place, &name(link), Attr::Mtu(from), Attr::Mtu(to));
    assert_eq!(m.refused(mtu(Place::Pod, "net1", 1500, 1600)), 22);
    assert_eq!(m.refused(mtu(Place::Pod, "net1", 1500, 60)), 22);
    m.ok(mtu(Place::Host, "eth0", 1500, 1400));
    assert_eq!(m.pod().link(&name("net1")).unwrap().mtu, 1400, "it follows its parent down");
}

#[test]
fn two_stations_with_one_mac_are_not_up_together() {
    let mut m = Machine::new();
    let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    for link in ["net1", "net2"] {
        m.ok(Change::create_link(Place::Pod, Link { mac, ..macvlan(link, MacvlanMode::Bridge) }));
    }
    m.ok(up(Place::Pod, "net1"));
    assert_eq!(m.refused(up(Place::Pod, "net2")), 98);
}

#[test]
fn hardware_addresses_are_unicast() {
    let mut m = Machine::new();
    let link = Link { mac: Some(Mac([1, 0, 0, 0, 0, 1])), ..macvlan("net1", MacvlanMode::Bridge) };
    assert_eq!(m.refused(Change::create_link(Place::Pod, link)), 99);
}

#[test]
fn a_mac_by_chance_is_the_same_every_time() {
    let mac = || {
        let mut m = Machine::new();
        m.ok(veth());
        m.pod().link(&name("net1")).unwrap().mac
    };
    assert_eq!(mac(), mac());
    assert_eq!(mac().unwrap().0[0] & 3, 2);
}

#[test]
fn an_attribute_changes_only_from_what_it_is() {
    let mut m = Machine::new();
    // What is up may be set up.
    m.ok(up(Place::Pod, "lo")).ok(up(Place::Pod, "lo"));
    let down = up(Place::Pod, "lo").inverse().unwrap();
    m.ok(down.clone());
    let error = m.kernel.apply(&down).unwrap_err();
    assert!(matches!(&error, KernelError::Stale { found, .. } if found == "Up(false)"), "{error}");
    assert_eq!(m.refused(up(Place::Pod, "net1")), 19);
}

#[test]
fn a_bridge_takes_mac_mtu_and_carrier_from_its_ports() {
    let mut m = Machine::new();
    m.ok(bridge()).ok(up(Place::Host, "br0")).ok(veth());
    let seen = |m: &mut Machine| {
        let host = m.host();
        let (br, port) = (host.link(&name("br0")).unwrap(), host.link(&name("veth1")).unwrap());
        (br.oper, br.mac == port.mac, br.mtu)
    };
    assert_eq!(seen(&mut m), (OperState::Unknown, false, 1500));
    m.ok(Change::attr(Place::Host, &name("veth1"), Attr::Mtu(1500), Attr::Mtu(1400)));
    m.ok(enslave("veth1"));
    assert_eq!(seen(&mut m), (OperState::Down, true, 1400));
    m.ok(up(Place::Host, "veth1")).ok(up(Place::Pod, "net1"));
    assert_eq!(seen(&mut m), (OperState::Up, true, 1400));
    m.ok(delete(enslave("veth1")));
    assert_eq!(m.host().link(&name("br0")).unwrap().mac, Some(Mac([0; 6])));
}

#[test]
fn a_chosen_mac_stays_with_its_bridge() {
    let mut m = Machine::new();
    m.ok(bridge()).ok(veth());
    let own = Attr::Mac(m.host().link(&name("br0")).unwrap().mac.unwrap());
    m.ok(Change::attr(Place::Host, &name("br0"), own.clone(), own.clone())).ok(enslave("veth1"));
    assert_eq!(Attr::Mac(m.host().link(&name("br0")).unwrap().mac.unwrap()), own);
}

#[test]
fn only_ports_have_what_belongs_to_ports() {
    let mut m = Machine::new();
    m.ok(bridge()).ok(veth());
    let hairpin = || Change::attr(Place::Host, &name("veth1"), Attr::Hairpin(false), Attr::Hairpin(true));
    let vlan = |vid, pvid| {
        let vlan = PortVlan { link: name("veth1"), vid, pvid, untagged: pvid };
        Change { place: Place::Host, object: Object::PortVlan(polynic_net::Diff::create(vlan)) }
    };
    assert_eq!(m.refused(hairpin()), 95);
    assert_eq!(m.refused(vlan(5, false)), 95);
    m.ok(enslave("veth1")).ok(hairpin());
    let vlans = |m: &mut Machine| {
        let mut needs = polynic_net::Needs::default();
        needs.host.vlans_of_port(&name("veth1"));
        let facts = m.kernel.observe(&needs).unwrap();
        facts.host.port_vlans[&name("veth1")].iter().map(|v| (v.vid, v.pvid)).collect::<Vec<_>>()
    };
    assert_eq!(vlans(&mut m), [(1, true)], "where a port starts");
    m.ok(vlan(1, false));
    assert_eq!(vlans(&mut m), [(1, false)], "flags are replaced");
    assert_eq!(m.refused(vlan(4095, false)), 22);
    m.ok(delete(vlan(1, true))).ok(vlan(5, true));
    assert_eq!(m.refused(delete(vlan(6, false))), 2);
    m.ok(delete(bridge()));
    assert_eq!(m.host().link(&name("veth1")).unwrap().hairpin, None);
    m.ok(bridge()).ok(enslave("veth1"));
    assert_eq!(vlans(&mut m), [(1, true)], "membership begins anew");
    m.ok(delete(bridge())).ok(bridge());
    m.door.host(|host| {
        host.vlan_default("br0", 0);
    });
    m.ok(enslave("veth1"));
    assert_eq!(vlans(&mut m), [], "a bridge that gives no VLAN by itself");
}

#[test]
fn deleting_a_link_removes_all_that_was_on_it() {
    let mut m = Machine::new();
    let before = m.door.snapshot();
    m.ok(veth()).ok(address(Place::Pod, "net1", "10.1.0.2/24")).ok(up(Place::Pod, "net1"));
    m.ok(address(Place::Pod, "net1", "fd00::2/64"));
    m.ok(Change::add_route(Place::Pod, route("10.2.0.0/16", "net1").via("10.1.0.1".parse().unwrap())));
    m.ok(delete(veth()));
    assert_eq!(before.diff(&m.door.snapshot()), Vec::<String>::new());
}
