//! From leases to tunnels, and whole passes on the fake kernel.

use polynic_kernel::{Door, FakeDoor};
use polynic_net::Entropy;

use crate::diff::Memory;
use crate::rules::RuleOptions;
use crate::{DEFAULT_PREFIX, Instance, Keys, Lease, NetConf, Node, Outcome, Own, Selection, Settings};

use super::*;

const BOTH: &str = r#""Network": "10.233.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true"#;

fn conf(backend: &str) -> NetConf {
    let text = format!(r#"{{{BOTH}, "Backend": {{"Type": "wireguard"{backend}}}}}"#);
    NetConf::parse(text.as_bytes()).unwrap()
}

fn settings(backend: &str) -> Settings {
    Settings {
        conf: conf(backend),
        keys: Keys::new(DEFAULT_PREFIX).unwrap(),
        selection: Selection { interfaces: vec!["eth1".to_owned()], ..Selection::default() },
        rules: RuleOptions { forward: false, masquerade: false, random: false },
        blackhole: false,
        secret: Some(WireguardSecret::private([1; 32])),
    }
}

fn key(number: u8) -> WireguardKey {
    WireguardKey([number; 32])
}

fn node(number: u8) -> Node {
    let name = |name: &str| format!("{DEFAULT_PREFIX}/{name}");
    let data = |port| WireguardEnd { key: key(number), port }.data();
    let annotations = [
        ("kube-subnet-manager", "true".to_owned()),
        ("backend-type", "wireguard".to_owned()),
        ("backend-data", data(51820)),
        ("backend-v6-data", data(51820)),
        ("public-ip", format!("192.168.10.{number}")),
        ("public-ipv6", format!("fd10::{number}")),
    ];
    Node {
        name: format!("node{number}"),
        pod_cidrs: vec![format!("10.233.{number}.0/24"), format!("fd60:0:0:{number}::/64")],
        annotations: annotations.into_iter().map(|(key, value)| (name(key), value)).collect(),
    }
}

struct World {
    door: FakeDoor,
    instance: Instance,
}

impl World {
    fn new(backend: &str) -> Self {
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("eth1").address("eth1", "192.168.10.1/24").address("eth1", "fd10::1/64");
        });
        Self { door, instance: Instance::new(settings(backend), Memory::default()) }
    }

    fn restart(&mut self, backend: &str) {
        self.instance = Instance::new(settings(backend), Memory::default());
    }

    fn pass(&mut self, peers: &[Node]) -> Outcome {
        let settings = self.instance.settings().clone();
        let own = Own::of(&node(1), &settings.keys, &settings.conf).unwrap();
        let leases = peers.iter().filter_map(|node| Lease::of(node, &settings.keys, &settings.conf).0);
        let leases: Vec<Lease> = leases.collect();
        let mut kernel = self.door.open(None).unwrap();
        self.instance.pass(kernel.as_mut(), &own, &leases, &mut Entropy::new(1)).unwrap()
    }

    fn must_pass(&mut self, peers: &[Node]) -> Outcome {
        let outcome = self.pass(peers);
        assert_eq!(outcome.problems, Vec::<String>::new());
        outcome
    }

    /// The peers of a tunnel as text; none if there is no such link.
    fn peers(&self, link: &str) -> Option<Vec<String>> {
        let mut needs = polynic_net::Needs::default();
        needs.host.wireguard_of(&IfName::new(link).unwrap());
        let facts = self.door.open(None).unwrap().observe(&needs).unwrap().host;
        let text = |peer: &WireguardPeer| {
            let nets: Vec<String> = peer.allowed.iter().map(ToString::to_string).collect();
            format!("{} {} {}", peer.key.0[0], peer.endpoint.unwrap(), nets.join(" "))
        };
        let mut peers: Vec<String> = facts.wireguard.first()?.peers.iter().map(text).collect();
        peers.sort();
        Some(peers)
    }

    fn has(&self, line: &str) -> bool {
        self.door.snapshot().lines().iter().any(|there| there.contains(line))
    }
}

#[test]
fn each_family_has_its_tunnel_with_peers_addresses_and_one_way() {
    let mut world = World::new("");
    let outcome = world.must_pass(&[node(2), node(3)]);
    assert_eq!(outcome.mtu, 1420);
    let v4 = ["2 192.168.10.2:51820 10.233.2.0/24", "3 192.168.10.3:51820 10.233.3.0/24"];
    let v6 = ["2 [fd10::2]:51820 fd60:0:0:2::/64", "3 [fd10::3]:51820 fd60:0:0:3::/64"];
    assert_eq!(world.peers("flannel-wg").unwrap(), v4);
    assert_eq!(world.peers("flannel-wg-v6").unwrap(), v6);
    for line in [
        "address 10.233.1.0/32 on flannel-wg ",
        "address fd60:0:0:1::/128 on flannel-wg-v6",
        "route 10.233.0.0/16 dev flannel-wg ",
        "route fd60::/48 dev flannel-wg-v6",
    ] {
        assert!(world.has(line), "{line}: {:?}", world.door.snapshot());
    }
    // The kernel has said what the public key is, and each family has its tunnel's port.
    let own = Own::of(&node(1), &settings("").keys, &conf("")).unwrap();
    let told = outcome.announcement.annotations(&own, &settings("").keys, &conf(""));
    let public = outcome.announcement.wireguard.v4.unwrap().key;
    let data = |key: &str| told[&format!("{DEFAULT_PREFIX}/{key}")].clone();
    assert_eq!(data("backend-data"), format!(r#"{{"PublicKey":"{public}","Port":51820}}"#));
    assert_eq!(data("backend-v6-data"), format!(r#"{{"PublicKey":"{public}","Port":51821}}"#));
    assert_eq!(data("backend-type"), "wireguard");
    assert_eq!(world.must_pass(&[node(2), node(3)]).made, 0);
}

#[test]
fn one_tunnel_carries_both_families_by_the_one_that_is_preferred() {
    for (mode, endpoint) in
        [("auto", "192.168.10.2:51820"), ("ipv4", "192.168.10.2:51820"), ("ipv6", "[fd10::2]:51820")]
    {
        let mut world = World::new(&format!(r#", "Mode": "{mode}""#));
        let outcome = world.must_pass(&[node(2)]);
        assert_eq!(
            world.peers("flannel-wg").unwrap(),
            [format!("2 {endpoint} 10.233.2.0/24 fd60:0:0:2::/64")]
        );
        assert_eq!(world.peers("flannel-wg-v6"), None);
        assert!(world.has("route fd60::/48 dev flannel-wg "));
        assert_eq!(outcome.announcement.wireguard.v6.unwrap().port, 51820);
        assert_eq!(world.must_pass(&[node(2)]).made, 0, "{mode}");
    }
}

#[test]
fn peers_come_move_and_go() {
    let mut world = World::new("");
    world.must_pass(&[node(2), node(3)]);
    let mut moved = node(2);
    moved.annotations.insert(format!("{DEFAULT_PREFIX}/public-ip"), "192.168.10.22".into());
    world.must_pass(&[moved, node(4)]);
    let expected = ["2 192.168.10.22:51820 10.233.2.0/24", "4 192.168.10.4:51820 10.233.4.0/24"];
    assert_eq!(world.peers("flannel-wg").unwrap(), expected);
    // A node that was installed anew has another key for the same subnet.
    let mut anew = node(4);
    let data = WireguardEnd { key: key(44), port: 51820 }.data();
    anew.annotations.insert(format!("{DEFAULT_PREFIX}/backend-data"), data);
    world.must_pass(&[anew]);
    assert_eq!(world.peers("flannel-wg").unwrap(), ["44 192.168.10.4:51820 10.233.4.0/24"]);
}

#[test]
fn a_daemon_that_comes_back_takes_the_tunnel_up_and_another_mode_makes_others() {
    let mut world = World::new("");
    world.must_pass(&[node(2)]);
    world.restart("");
    assert_eq!(world.must_pass(&[node(2)]).made, 0);
    world.restart(r#", "Mode": "auto", "ListenPort": 4000"#);
    let outcome = world.must_pass(&[node(2)]);
    assert_eq!(outcome.announcement.wireguard.v4.unwrap().port, 4000);
    assert_eq!(world.peers("flannel-wg-v6"), None);
    assert!(world.has("route fd60::/48 dev flannel-wg "));
    let mut kernel = world.door.open(None).unwrap();
    assert_eq!(world.instance.leave(kernel.as_mut()).unwrap().len(), 1);
    assert_eq!(world.peers("flannel-wg"), None);
    assert!(!world.has("10.233.0.0/16"), "the way goes with the link");
}

/// A peer behind address translation is where it spoke from: that is not put right, unless its node tells another address.
#[test]
fn an_endpoint_that_roams_is_left_alone() {
    let mut world = World::new("");
    world.must_pass(&[node(2)]);
    let link = IfName::new("flannel-wg").unwrap();
    let roamed = WireguardPeer {
        key: key(2),
        shared: None,
        endpoint: Some("203.0.113.7:9999".parse().unwrap()),
        keepalive: 0,
        allowed: vec!["10.233.2.0/24".parse().unwrap()],
    };
    let diff = polynic_net::Diff::create(polynic_net::Wireguard::peer(&link, roamed));
    world.door.host(|host| {
        let object = polynic_net::Object::Wireguard(diff.clone());
        host.change(&polynic_net::Change { place: polynic_net::Place::Host, object });
    });
    assert_eq!(world.must_pass(&[node(2)]).made, 0);
    assert_eq!(world.peers("flannel-wg").unwrap(), ["2 203.0.113.7:9999 10.233.2.0/24"]);
    let mut moved = node(2);
    moved.annotations.insert(format!("{DEFAULT_PREFIX}/public-ip"), "192.168.10.22".into());
    world.must_pass(&[moved]);
    assert_eq!(world.peers("flannel-wg").unwrap(), ["2 192.168.10.22:51820 10.233.2.0/24"]);
}

#[test]
fn keys_that_are_copies_and_tunnels_of_another_mode_are_told() {
    let mut world = World::new("");
    let own = world.must_pass(&[]).announcement.wireguard.v4.unwrap();
    let with = |number, end: WireguardEnd| {
        let mut node = node(number);
        for key in ["backend-data", "backend-v6-data"] {
            node.annotations.insert(format!("{DEFAULT_PREFIX}/{key}"), end.data());
        }
        node
    };
    let copy = WireguardEnd { key: key(2), port: 51820 };
    let problems = world.pass(&[node(2), with(3, copy), with(4, own)]).problems.join("\n");
    assert!(problems.contains("node node3 has the WireGuard key of node node2"), "{problems}");
    assert!(problems.contains("node node4 has this node's WireGuard key"), "{problems}");
    assert_eq!(world.peers("flannel-wg").unwrap(), ["2 192.168.10.2:51820 10.233.2.0/24"]);
    let mut world = World::new(r#", "Mode": "auto""#);
    let mut separate = node(2);
    let v6 = WireguardEnd { key: key(2), port: 51821 };
    separate.annotations.insert(format!("{DEFAULT_PREFIX}/backend-v6-data"), v6.data());
    let problems = world.pass(&[separate]).problems;
    assert!(
        problems[0].contains("(Mode separate) and this node one for both: IPv6 does not reach it"),
        "{problems:?}"
    );
}

#[test]
fn a_machine_that_came_back_under_another_name_has_both_subnets() {
    for backend in ["", r#", "Mode": "auto""#] {
        let mut world = World::new(backend);
        let again = Node { name: "node7".into(), pod_cidrs: node(7).pod_cidrs, ..node(2) };
        let own = world.must_pass(&[]).announcement.wireguard.v4.unwrap();
        let mut dead = Node { name: "node0".into(), pod_cidrs: node(9).pod_cidrs, ..node(1) };
        for key in ["backend-data", "backend-v6-data"] {
            dead.annotations.insert(format!("{DEFAULT_PREFIX}/{key}"), own.data());
        }
        world.must_pass(&[node(2), again, dead]);
        let peers = world.peers("flannel-wg").unwrap();
        assert!(peers.len() == 1 && peers[0].contains("10.233.2.0/24 10.233.7.0/24"), "{peers:?}");
    }
}

#[test]
fn a_link_of_the_tunnels_name_that_is_none_stays() {
    let mut world = World::new("");
    world.door.host(|host| {
        host.physical("flannel-wg-v6");
    });
    let settings = world.instance.settings().clone();
    let own = Own::of(&node(1), &settings.keys, &settings.conf).unwrap();
    let mut kernel = world.door.open(None).unwrap();
    let why = world.instance.pass(kernel.as_mut(), &own, &[], &mut Entropy::new(1)).unwrap_err().to_string();
    assert!(why.starts_with("link flannel-wg-v6 is of kind \"\", not wireguard"), "{why}");
    assert_eq!(world.instance.leave(kernel.as_mut()).unwrap(), Vec::<IfName>::new());
}

#[test]
fn whatever_step_fails_the_next_pass_ends_where_an_undisturbed_one_does() {
    let mut undisturbed = World::new("");
    undisturbed.must_pass(&[node(2), node(4)]);
    for step in 1.. {
        let mut world = World::new("");
        world.must_pass(&[node(2), node(3)]);
        world.door.fail_at(step);
        let failed = world.pass(&[node(2), node(4)]);
        world.door.heal();
        world.must_pass(&[node(2), node(4)]);
        let differs = undisturbed.door.snapshot().diff(&world.door.snapshot());
        assert_eq!(differs, Vec::<String>::new(), "step {step}");
        if failed.problems.is_empty() {
            assert!(step > 3, "only {step} steps");
            break;
        }
    }
}

#[test]
fn a_backends_data_is_read_and_nonsense_is_none() {
    let end = WireguardEnd { key: key(7), port: 51820 };
    assert_eq!(WireguardEnd::parse(&end.data()), Some(end));
    for bad in ["", "null", "{}", r#"{"PublicKey":"x","Port":1}"#, &end.data().replace("51820", "0")] {
        assert_eq!(WireguardEnd::parse(bad), None, "{bad}");
    }
}
