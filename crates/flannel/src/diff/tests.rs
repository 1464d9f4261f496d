//! Whole passes on the fake kernel.

use polynic_kernel::{Door, FakeDoor};
use polynic_net::Entropy;

use super::*;
use crate::rules::RuleOptions;
use crate::{DEFAULT_PREFIX, Instance, Keys, Lease, NetConf, Node, Own, Selection, Settings};

const CONF: &str = r#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "vxlan"}}"#;

fn machine() -> FakeDoor {
    let door = FakeDoor::new();
    door.host(|host| {
        host.physical("eth1").address("eth1", "192.168.10.1/24").address("eth1", "fd10::1/64");
    });
    door
}

fn settings() -> Settings {
    Settings {
        conf: NetConf::parse(CONF.as_bytes()).unwrap(),
        keys: Keys::new(DEFAULT_PREFIX).unwrap(),
        selection: Selection { interfaces: vec!["eth1".to_owned()], ..Selection::default() },
        rules: RuleOptions { forward: true, masquerade: true, random: true },
        blackhole: true,
        secret: None,
    }
}

fn node(number: u8) -> Node {
    let key = |name: &str| format!("{DEFAULT_PREFIX}/{name}");
    let data = format!(r#"{{"VNI":1,"VtepMAC":"a2:00:00:00:00:{number:02x}"}}"#);
    let annotations = [
        ("kube-subnet-manager", "true".to_owned()),
        ("backend-type", "vxlan".to_owned()),
        ("backend-data", data.clone()),
        ("backend-v6-data", data),
        ("public-ip", format!("192.168.10.{number}")),
        ("public-ipv6", format!("fd10::{number}")),
    ];
    Node {
        name: format!("node{number}"),
        pod_cidrs: vec![format!("10.233.{number}.0/24"), format!("fd60:0:0:{number}::/64")],
        annotations: annotations.into_iter().map(|(name, value)| (key(name), value)).collect(),
    }
}

fn pass(door: &FakeDoor, instance: &mut Instance, peers: &[u8]) -> crate::Outcome {
    let settings = settings();
    let own = Own::of(&node(1), &settings.keys, &settings.conf).unwrap();
    let leases: Vec<Lease> =
        peers.iter().filter_map(|n| Lease::of(&node(*n), &settings.keys, &settings.conf).0).collect();
    let mut kernel = door.open(None).unwrap();
    instance.pass(kernel.as_mut(), &own, &leases, &mut Entropy::new(1)).unwrap()
}

fn fresh() -> Instance {
    Instance::new(settings(), Memory::default())
}

#[test]
fn a_second_pass_has_nothing_to_do() {
    let door = machine();
    let mut instance = fresh();
    assert_eq!(pass(&door, &mut instance, &[2, 3]).problems, Vec::<String>::new());
    let after = door.snapshot();
    assert_eq!(pass(&door, &mut instance, &[2, 3]).made, 0);
    assert_eq!(after.diff(&door.snapshot()), Vec::<String>::new());
    // And the first node's hardware address is the one that it announced before.
    let mac = |line: &&String| line.contains("link flannel.1 ") && line.contains("mac=a2:00:00:00:00:01");
    assert!(after.lines().iter().any(|line| mac(&line)), "{after:?}");
}

#[test]
fn whatever_step_fails_the_next_pass_ends_where_an_undisturbed_one_does() {
    let undisturbed = machine();
    pass(&undisturbed, &mut fresh(), &[2, 4]);
    let mut step = 0;
    loop {
        step += 1;
        let door = machine();
        let mut instance = fresh();
        pass(&door, &mut instance, &[2, 3]);
        let before = door.operations();
        door.fail_at(step);
        let failed = pass(&door, &mut instance, &[2, 4]);
        pass(&door, &mut instance, &[2, 4]);
        assert_eq!(undisturbed.snapshot().diff(&door.snapshot()), Vec::<String>::new(), "step {step}");
        if failed.problems.is_empty() {
            assert!(step > 6 && before > 0, "only {step} steps");
            break;
        }
        door.heal();
    }
}

#[test]
fn no_route_without_its_neighbour() {
    let door = machine();
    let mut instance = fresh();
    pass(&door, &mut instance, &[]);
    // The neighbour of the only new peer is the first thing that is made.
    door.fail_at(1);
    let outcome = pass(&door, &mut instance, &[2]);
    assert!(outcome.problems[0].starts_with("node node2: "), "{:?}", outcome.problems);
    assert!(!door.snapshot().lines().iter().any(|line| line.contains("route 10.233.2.0/24")));
}

#[test]
fn rules_that_are_wanted_no_more_go_with_their_table() {
    let door = machine();
    pass(&door, &mut fresh(), &[]);
    let off =
        Settings { rules: RuleOptions { forward: false, masquerade: false, random: true }, ..settings() };
    let memory = Memory::parse("10.233.1.0/24 blackhole\nfd60:0:0:1::/64 blackhole\n");
    pass(&door, &mut Instance::new(off, memory), &[]);
    assert!(!door.snapshot().lines().iter().any(|line| line.contains("firewall")), "{:?}", door.snapshot());
}

#[test]
fn memory_survives_its_file() {
    let text = "10.233.1.0/24 blackhole\n10.233.2.0/24 via 192.168.10.2\nfd60:0:0:2::/64 via fd10::2\ntunnel flannel.1\n";
    assert_eq!(Memory::parse(text).render(), text);
    assert_eq!(Memory::parse("nonsense\n10.0.0.0/8 via\n"), Memory::default());
}

#[test]
fn ipip_has_one_tunnel_and_routes_through_the_peers_addresses() {
    let conf = br#"{"Network": "10.233.0.0/16", "Backend": {"Type": "ipip"}}"#;
    let settings = Settings { conf: NetConf::parse(conf).unwrap(), ..settings() };
    let object = |number: u8| {
        let mut node = node(number);
        node.annotations.insert(format!("{DEFAULT_PREFIX}/backend-type"), "ipip".to_owned());
        node
    };
    let own = Own::of(&object(1), &settings.keys, &settings.conf).unwrap();
    let lease = |number| Lease::of(&object(number), &settings.keys, &settings.conf).0.unwrap();
    let door = machine();
    let mut kernel = door.open(None).unwrap();
    let mut instance = Instance::new(settings.clone(), Memory::default());
    let mut pass = |instance: &mut Instance, leases: &[Lease]| {
        instance.pass(kernel.as_mut(), &own, leases, &mut Entropy::new(1)).unwrap()
    };
    let outcome = pass(&mut instance, &[lease(2), lease(3)]);
    assert_eq!((outcome.problems, outcome.mtu), (vec![], 1480));
    assert_eq!(pass(&mut instance, &[lease(2), lease(3)]).made, 0);
    // The next process knows its own routes by their shape.
    let mut next = Instance::new(settings.clone(), Memory::default());
    assert_eq!(pass(&mut next, &[lease(2)]).made, 1);
    let needs = polynic_net::NsNeeds { routes: true, ..Default::default() };
    let facts =
        door.open(None).unwrap().observe(&polynic_net::Needs { host: needs, ..Default::default() }).unwrap();
    let by_tunnel =
        facts.host.routes.iter().filter(|r| r.link.as_ref().is_some_and(|l| l.as_str() == "flannel.ipip"));
    let left: Vec<String> = by_tunnel.filter(|r| r.gw.is_some()).map(ToString::to_string).collect();
    assert_eq!(left, ["10.233.2.0/24 via 192.168.10.2 dev flannel.ipip"]);
}
