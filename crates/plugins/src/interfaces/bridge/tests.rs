//! What needs several networks, or a bridge that somebody else has made.

use polynic_cni::{Error, Invocation, Output, Success, Verb};
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{Attr, Change, IfName, Link, LinkKind, Needs, Place, PortVlan};
use serde_json::{Value, json};

use crate::testing::{self, NETNS};
use crate::{Host, Registry};

struct World {
    door: FakeDoor,
    registry: Registry,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (door, directory) = (FakeDoor::new(), tempfile::tempdir().unwrap());
        for pod in [NETNS, "/run/netns/b"] {
            door.add_netns(pod);
        }
        let seeds = std::sync::atomic::AtomicU64::new(1);
        let seed = move || seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let host = Host { seed: Box::new(seed), ..testing::host(&door, directory.path()) };
        Self { door, registry: Registry::new(host), _directory: directory }
    }

    fn call(&self, verb: Verb, conf: &Value, ifname: &str) -> Result<Output, Error> {
        let invocation = Invocation { ifname: ifname.into(), ..testing::invocation(conf) };
        polynic_cni::invoke(&self.registry.plugin("bridge").unwrap(), verb, &invocation)
    }

    fn add(&self, conf: &Value, ifname: &str) -> Success {
        self.call(Verb::Add, conf, ifname).unwrap().into_success("test").unwrap()
    }

    fn check(&self, conf: &Value, ifname: &str, result: &Success) -> Result<Output, Error> {
        let mut conf = conf.clone();
        conf["prevResult"] = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
        self.call(Verb::Check, &conf, ifname)
    }

    /// A filtering bridge whose ports start in this VLAN.
    fn bridge(&self, default: u16) -> Link {
        let link = Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: true });
        self.door.host(|host| {
            host.change(&Change::create_link(Place::Host, link.clone())).vlan_default("br0", default);
        });
        link
    }

    /// VLANs of a port, as (id, untagged).
    fn vlans(&self, port: &str) -> Vec<(u16, bool)> {
        let mut needs = Needs::default();
        needs.host.vlans_of_port(&name(port));
        let facts = self.door.open(None).unwrap().observe(&needs).unwrap();
        let vlans = facts.host.port_vlans[&name(port)].iter();
        vlans.map(|v: &PortVlan| (v.vid, v.pvid && v.untagged)).collect()
    }
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn conf(keys: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "bridge": "br0"});
    keys.as_object().unwrap().iter().for_each(|(key, value)| conf[key] = value.clone());
    conf
}

#[test]
fn deleting_net1_leaves_the_spoof_check_of_net10() {
    let world = World::new();
    let conf = conf(json!({"macspoofchk": true}));
    let call = |verb: Verb, ifname: &str| drop(world.call(verb, &conf, ifname).unwrap());
    call(Verb::Add, "net10");
    let alone = world.door.snapshot();
    call(Verb::Add, "net1");
    call(Verb::Del, "net1");
    assert_eq!(alone.diff(&world.door.snapshot()), Vec::<String>::new());
    call(Verb::Del, "net1");
    assert_eq!(alone.diff(&world.door.snapshot()), Vec::<String>::new(), "a second DEL, without a record");
}

/// Wherever ports of the bridge start, they end up in the VLANs that are asked for.
#[test]
fn the_bridges_default_vlan_is_what_the_bridge_says() {
    let trunk = json!([{"id": 5}, {"id": 10}]);
    for (default, keys, expected) in [
        (10, json!({"vlan": 100}), vec![(100, true)]),
        (100, json!({"vlan": 100}), vec![(100, true)]),
        (0, json!({"vlan": 100}), vec![(100, true)]),
        (7, json!({"vlanTrunk": trunk}), vec![(1, true), (5, false), (10, false)]),
        (10, json!({"vlanTrunk": trunk}), vec![(1, true), (5, false), (10, false)]),
        (1, json!({"vlanTrunk": trunk}), vec![(1, true), (5, false), (10, false)]),
        (0, json!({"vlanTrunk": trunk}), vec![(1, true), (5, false), (10, false)]),
        (7, json!({"vlan": 10, "vlanTrunk": trunk}), vec![(5, false), (10, true)]),
        (7, json!({"vlan": 10, "preserveDefaultVlan": true}), vec![(7, false), (10, true)]),
        (7, json!({}), vec![(7, true)]),
    ] {
        let world = World::new();
        world.bridge(default);
        let conf = conf(keys);
        let result = world.add(&conf, "net1");
        let vlans = world.vlans(&result.interfaces[1].name);
        assert_eq!(vlans, expected, "{default} {conf}");
        world.check(&conf, "net1", &result).unwrap();
    }
}

#[test]
fn check_notices_a_port_in_the_wrong_vlans() {
    let conf = conf(json!({"vlan": 100, "vlanTrunk": [{"id": 5}]}));
    let spoiled = |spoil: &dyn Fn(PortVlan) -> Vec<polynic_net::Diff<PortVlan>>| {
        let world = World::new();
        let result = world.add(&conf, "net1");
        world.check(&conf, "net1", &result).unwrap();
        let port = name(&result.interfaces[1].name);
        for diff in spoil(PortVlan { link: port, vid: 5, pvid: false, untagged: false }) {
            let object = polynic_net::Object::PortVlan(diff);
            world.door.host(|host| {
                host.change(&Change { place: Place::Host, object: object.clone() });
            });
        }
        world.check(&conf, "net1", &result).unwrap_err().msg
    };
    use polynic_net::Diff;
    let missing = spoiled(&|vlan| vec![Diff::delete(vlan)]);
    assert!(missing.contains("does not have VLAN 5 (tagged)"), "{missing}");
    let untagged = spoiled(&|vlan| vec![Diff::create(PortVlan { untagged: true, ..vlan })]);
    assert!(untagged.contains("does not have VLAN 5 (tagged)"), "{untagged}");
    let other_native = spoiled(&|vlan| vec![Diff::create(PortVlan { vid: 9, pvid: true, ..vlan })]);
    assert!(other_native.contains("does not have VLAN 100 (untagged)"), "{other_native}");
    let back = spoiled(&|vlan| vec![Diff::create(PortVlan { vid: 1, ..vlan })]);
    assert!(back.contains("has the bridge's default VLAN 1"), "{back}");
}

/// A repeated ADD puts a port back into a VLAN that somebody took it out of.
#[test]
fn a_repeated_add_mends_the_vlans() {
    let world = World::new();
    let conf = conf(json!({"vlan": 100}));
    let result = world.add(&conf, "net1");
    let port = result.interfaces[1].name.clone();
    let native = PortVlan { link: name(&port), vid: 100, pvid: true, untagged: true };
    let object = polynic_net::Object::PortVlan(polynic_net::Diff::delete(native));
    world.door.host(|host| {
        host.change(&Change { place: Place::Host, object: object.clone() });
    });
    assert_eq!(world.vlans(&port), []);
    world.add(&conf, "net1");
    assert_eq!(world.vlans(&port), [(100, true)]);
}

/// Somebody deletes the bridge and makes it again: the next pod finds the gateway's cable without its port.
#[test]
fn the_gateways_port_is_put_back_into_a_bridge_that_was_made_anew() {
    let world = World::new();
    let addresses =
        json!({"type": "static", "addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}]});
    let conf = conf(json!({"vlan": 100, "isGateway": true, "ipam": addresses}));
    let port = || {
        let mut needs = Needs::default();
        needs.host.links = polynic_net::LinkNeed::All;
        let facts = world.door.open(None).unwrap().observe(&needs).unwrap();
        let end = facts.link(Place::Host, &name("br0.100")).unwrap();
        let port = facts.host.link_by_index(end.peer.unwrap()).unwrap();
        let master = port.master.and_then(|index| facts.host.link_by_index(index));
        (port.name.to_string(), master.map(|master| master.name.to_string()))
    };
    world.add(&conf, "net1");
    let (first, master) = port();
    assert_eq!((world.vlans(&first), master.as_deref()), (vec![(100, true)], Some("br0")));
    world.call(Verb::Del, &conf, "net1").unwrap();
    let bridge = Link::new(name("br0"), LinkKind::Bridge { vlan_filtering: true });
    let gone = Change::create_link(Place::Host, bridge).inverse().unwrap();
    world.door.host(|host| {
        host.change(&gone);
    });
    assert_eq!(port(), (first.clone(), None));
    world.bridge(1);
    world.add(&conf, "net1");
    assert_eq!((port(), world.vlans(&first)), ((first.clone(), Some("br0".into())), vec![(100, true)]));
    // One that somebody has put elsewhere is his.
    let other = Link::new(name("br9"), LinkKind::Bridge { vlan_filtering: true });
    world.call(Verb::Del, &conf, "net1").unwrap();
    let master = |name| Attr::Master(Some(name));
    world.door.host(|host| {
        host.change(&Change::create_link(Place::Host, other));
        host.change(&Change::attr(Place::Host, &name(&first), master(name("br0")), master(name("br9"))));
    });
    world.add(&conf, "net1");
    assert_eq!(port().1.as_deref(), Some("br9"));
}

/// Whatever the configuration calls the bridge, what is made is about the one that it is.
#[test]
fn a_bridge_is_found_by_an_alternative_name() {
    let world = World::new();
    world.bridge(1);
    world.door.host(|host| {
        host.other_name("br0", "uplink");
    });
    let addresses =
        json!({"type": "static", "addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}]});
    for keys in [json!({}), json!({"vlan": 100})] {
        let mut conf =
            conf(json!({"bridge": "uplink", "isGateway": true, "ipMasq": true, "ipam": addresses}));
        keys.as_object().unwrap().iter().for_each(|(key, value)| conf[key] = value.clone());
        let before = world.door.snapshot();
        let result = world.add(&conf, "net1");
        assert_eq!(result.interfaces[0].name, "br0");
        let gateway = if keys["vlan"].is_null() { "br0" } else { "br0.100" };
        let lines = world.door.snapshot();
        let address = format!("host: address 10.9.0.1/24 on {gateway} nodad=false");
        assert!(lines.lines().contains(&address), "{address} in {lines:?}");
        world.check(&conf, "net1", &result).unwrap();
        world.add(&conf, "net1");
        world.call(Verb::Del, &conf, "net1").unwrap();
        let left = before.diff(&world.door.snapshot());
        assert!(left.iter().all(|line| !line.contains("net1")), "{left:?}");
        world.door.host(|host| {
            host.change(&Change {
                place: Place::Host,
                object: polynic_net::Object::Address(polynic_net::Diff::delete(polynic_net::Address::new(
                    &name(gateway),
                    "10.9.0.1/24".parse().unwrap(),
                ))),
            });
        });
    }
}
