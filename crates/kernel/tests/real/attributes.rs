//! Attributes of links that exist.

use polynic_kernel::KernelError;
use polynic_net::{Attr, Change, Diff, Link, LinkKind, Mac, Object, Place, PortVlan};

use crate::support::{Bench, filtering_bridge, ifb, name, veth};

fn set(link: &str, before: Attr, after: Attr) -> Change {
    Change::attr(Place::Pod, &name(link), before, after)
}

#[test]
fn simple_attributes_are_set_and_taken_back() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Pod, "a", Place::Pod, "b"));
    let mac = bench.link(Place::Pod, "a").unwrap().mac.unwrap();
    let changes = [
        set("a", Attr::Up(false), Attr::Up(true)),
        set("a", Attr::Mtu(1500), Attr::Mtu(1400)),
        set("a", Attr::Mac(mac), Attr::Mac(Mac([2, 1, 1, 1, 1, 1]))),
        set("a", Attr::Promisc(false), Attr::Promisc(true)),
        set("a", Attr::AllMulti(false), Attr::AllMulti(true)),
        set("a", Attr::TxQueueLen(1000), Attr::TxQueueLen(77)),
        set("a", Attr::Alias(String::new()), Attr::Alias("pod default/web".into())),
    ];
    let before = bench.link(Place::Pod, "a").unwrap();
    bench.apply_all(changes.clone());
    let fact = bench.link(Place::Pod, "a").unwrap();
    assert_eq!((fact.up, fact.mtu, fact.mac), (true, 1400, Some(Mac([2, 1, 1, 1, 1, 1]))));
    assert_eq!((fact.promisc, fact.all_multicast, fact.tx_queue_len), (true, true, 77));
    assert_eq!(fact.alias.as_deref(), Some("pod default/web"));
    bench.apply_all(changes.into_iter().rev().map(|c| c.inverse().unwrap()));
    let mut after = bench.link(Place::Pod, "a").unwrap();
    after.oper = before.oper;
    assert_eq!(after, before);
}

#[test]
fn a_port_joins_a_bridge_and_leaves_it() {
    let Some(mut bench) = Bench::new() else { return };
    let bridge = Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: false });
    bench.apply(Change::create_link(Place::Pod, bridge));
    bench.apply(veth(Place::Pod, "a", Place::Pod, "b"));
    let join = set("a", Attr::Master(None), Attr::Master(Some(name("br0"))));
    bench.apply(join.clone());
    bench.apply(set("a", Attr::Hairpin(false), Attr::Hairpin(true)));
    bench.apply(set("a", Attr::Isolated(false), Attr::Isolated(true)));
    let fact = bench.link(Place::Pod, "a").unwrap();
    assert_eq!(fact.master, Some(bench.link(Place::Pod, "br0").unwrap().index));
    assert_eq!((fact.hairpin, fact.isolated), (Some(true), Some(true)));
    bench.apply(join.inverse().unwrap());
    assert_eq!(bench.link(Place::Pod, "a").unwrap().master, None);
}

#[test]
fn a_value_that_changed_meanwhile_is_stale() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Pod, "a", Place::Pod, "b"));
    let error = bench.fail(set("a", Attr::Mtu(9000), Attr::Mtu(1400)));
    assert!(matches!(&error, KernelError::Stale { found, .. } if found.contains("1500")), "{error}");
    let error = bench.fail(set("a", Attr::Up(true), Attr::Up(false)));
    assert!(matches!(error, KernelError::Stale { .. }), "{error}");
    assert_eq!(bench.link(Place::Pod, "a").unwrap().mtu, 1500);
}

#[test]
fn a_link_that_is_up_already_is_fine() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "a"));
    bench.apply(Change::up(Place::Pod, &name("a")));
    bench.apply(Change::up(Place::Pod, &name("a")));
    assert!(bench.link(Place::Pod, "a").unwrap().up);
}

#[test]
fn an_attribute_of_a_missing_link_is_absent() {
    let Some(mut bench) = Bench::new() else { return };
    assert!(bench.fail(Change::up(Place::Pod, &name("nope"))).is_absent());
    assert!(bench.fail(set("nope", Attr::Mtu(1), Attr::Mtu(2))).is_absent());
}

#[test]
fn an_impossible_value_is_refused_in_the_kernels_words() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Pod, "a", Place::Pod, "b"));
    let error = bench.fail(set("a", Attr::Mtu(1500), Attr::Mtu(1_000_000)));
    assert_eq!(
        error.to_string(),
        "set Mtu(1000000) on a in pod: Invalid argument (mtu greater than device maximum)"
    );
}

#[test]
fn a_ports_vlans_come_and_go() {
    let Some(mut bench) = Bench::new() else { return };
    if !filtering_bridge(&mut bench, "br0") {
        return;
    }
    bench.apply(veth(Place::Pod, "a", Place::Pod, "b"));
    bench.apply(set("a", Attr::Master(None), Attr::Master(Some(name("br0")))));
    let vlan = |vid, native| PortVlan { link: name("a"), vid, pvid: native, untagged: native };
    let change = |diff| Change { place: Place::Pod, object: Object::PortVlan(diff) };
    bench.apply(change(Diff::delete(vlan(1, true))));
    bench.apply(change(Diff::create(vlan(100, true))));
    bench.apply(change(Diff::create(vlan(200, false))));
    bench.apply(change(Diff::delete(vlan(200, false))));
    // What was never there, or is there no more, cannot be removed.
    assert!(bench.fail(change(Diff::delete(vlan(1, true)))).is_absent());
    assert!(bench.fail(change(Diff::delete(vlan(200, false)))).is_absent());
    bench.apply(change(Diff::delete(vlan(100, true))));
}
