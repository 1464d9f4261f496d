//! One set of properties for all chained plugins of this family, on the fake kernel: behind a `macvlan`, or behind a `ptp`
//! where they need a link on the node.

use polynic_cni::{Error, Invocation, Output, Success, Verb};
use polynic_kernel::FakeDoor;
use polynic_kernel::fake::Snapshot;
use serde_json::{Value, json};

use crate::Registry;
use crate::testing::{self, NETNS};

struct World {
    door: FakeDoor,
    registry: Registry,
    directory: tempfile::TempDir,
    prev: Success,
    first: Value,
}

/// A chain: what makes the interface, and the plugin behind it.
struct Chain {
    first: Value,
    second: Value,
}

fn chains() -> Vec<Chain> {
    let addresses = json!([{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}, {"address": "fd09::5/64", "gateway": "fd09::1"}]);
    let ipam =
        json!({"type": "static", "addresses": addresses, "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]});
    let macvlan = json!({"type": "macvlan", "master": "eth0", "ipam": ipam});
    let ptp = json!({"type": "ptp", "ipam": {"type": "static", "addresses": addresses}});
    let ports = json!({"portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.168.1.10"},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "fd00::1"}]});
    let seconds = [
        (&ptp, json!({"type": "portmap", "runtimeConfig": ports})),
        (
            &ptp,
            json!({"type": "portmap", "snat": false, "conditionsV4": ["!", "-d", "192.0.2.0/24"], "runtimeConfig": ports}),
        ),
        (&ptp, json!({"type": "portmap", "masqAll": true, "backend": "nftables", "runtimeConfig": ports})),
        (&macvlan, json!({"type": "portmap"})),
        (
            &ptp,
            json!({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 80_000, "egressRate": 2_000_000, "egressBurst": 80_000}),
        ),
        (
            &macvlan,
            json!({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 80_000, "egressRate": 2_000_000, "egressBurst": 80_000}),
        ),
        (
            &ptp,
            json!({"type": "bandwidth", "unshapedSubnets": ["10.0.0.0/8", "fd00::/8"], "runtimeConfig": {"bandwidth": {"egressRate": 2_000_000, "egressBurst": 80_000}}}),
        ),
        (&ptp, json!({"type": "bandwidth"})),
        (&ptp, json!({"type": "firewall"})),
        (
            &macvlan,
            json!({"type": "firewall", "backend": "iptables", "iptablesAdminChainName": "MINE", "ingressPolicy": "isolated"}),
        ),
        (&ptp, json!({"type": "firewall", "backend": "firewalld", "firewalldZone": "pods"})),
        (
            &macvlan,
            json!({"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_notify": "0"}, "mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 500}),
        ),
        (&macvlan, json!({"type": "tuning"})),
        (&macvlan, json!({"type": "sbr"})),
        (&macvlan, json!({"type": "sbr", "addSourceHints": true, "gateways": ["10.9.0.9"]})),
        (&macvlan, json!({"type": "sbr", "table": 250})),
        (&macvlan, json!({"type": "vrf", "vrfname": "blue"})),
        (&macvlan, json!({"type": "vrf", "vrfname": "blue", "table": 77})),
    ];
    let chain = |(first, second): (&Value, Value)| {
        let [first, second] = [first.clone(), second].map(|mut conf| {
            conf["cniVersion"] = json!("1.1.0");
            conf["name"] = json!("lab");
            conf
        });
        Chain { first, second }
    };
    seconds.into_iter().map(chain).collect()
}

impl World {
    fn new(chain: &Chain) -> Self {
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("eth0").address("eth0", "192.168.1.10/24");
            host.route("0.0.0.0/0", Some("192.168.1.1"), "eth0");
            if chain.second["backend"] == "firewalld" {
                host.firewalld();
            }
        });
        door.add_netns(NETNS);
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(testing::host(&door, directory.path()));
        let mut world =
            Self { door, registry, directory, prev: Success::default(), first: chain.first.clone() };
        world.prev = world.call(Verb::Add, &chain.first).unwrap().into_success("test").unwrap();
        world
    }

    fn call(&self, verb: Verb, conf: &Value) -> Result<Output, Error> {
        let mut conf = conf.clone();
        if conf["type"] == "tuning" {
            conf["dataDir"] = json!(self.directory.path().join("tuning"));
        }
        let invocation = testing::invocation(&conf);
        let plugin = self.registry.plugin(conf["type"].as_str().unwrap()).unwrap();
        polynic_cni::invoke(&plugin, verb, &invocation)
    }

    fn add(&self, conf: &Value) -> Result<Success, Error> {
        self.call(Verb::Add, &with_prev(conf, &self.prev))?.into_success("test")
    }

    fn state(&self) -> Snapshot {
        self.door.snapshot()
    }
}

fn with_prev(conf: &Value, result: &Success) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
    conf
}

fn assert_same(before: &Snapshot, after: &Snapshot, what: &str) {
    assert_eq!(before.diff(after), Vec::<String>::new(), "{what}");
}

#[test]
fn a_failure_at_any_step_leaves_everything_as_it_was() {
    for chain in chains() {
        let world = World::new(&chain);
        let begun = world.door.operations();
        world.add(&chain.second).unwrap_or_else(|e| panic!("{}: {e}", chain.second));
        let steps = world.door.operations() - begun;
        for step in 1..=steps {
            let world = World::new(&chain);
            let before = world.state();
            world.door.fail_at(step);
            let error = world.add(&chain.second).expect_err("the step failed");
            assert!(error.details.contains("pod blue/web"), "{error:?}");
            assert_same(&before, &world.state(), &format!("{}, step {step} of {steps}", chain.second));
            world.add(&chain.second).unwrap_or_else(|e| panic!("{}, again: {e}", chain.second));
        }
    }
}

#[test]
fn the_same_add_again_changes_nothing_and_check_agrees() {
    for chain in chains() {
        let world = World::new(&chain);
        let result = world.add(&chain.second).unwrap();
        let state = world.state();
        assert_eq!(world.add(&chain.second).unwrap(), result, "{}", chain.second);
        assert_same(&state, &world.state(), &chain.second.to_string());
        for conf in [&chain.second, &world.first] {
            world.call(Verb::Check, &with_prev(conf, &result)).unwrap_or_else(|e| panic!("{conf}: {e}"));
        }
    }
}

/// Also for one that found what is shared and did not have to make it.
#[test]
fn an_add_again_makes_what_somebody_flushed() {
    for chain in chains() {
        let world = World::new(&chain);
        world.add(&chain.second).unwrap();
        world.call(Verb::Del, &chain.second).unwrap();
        let result = world.add(&chain.second).unwrap();
        let state = world.state();
        world.door.host(|host| {
            host.flush_firewall();
        });
        assert_eq!(world.add(&chain.second).unwrap(), result, "{}", chain.second);
        assert_same(&state, &world.state(), &chain.second.to_string());
    }
}

#[test]
fn del_takes_back_what_it_did_and_only_that() {
    for chain in chains() {
        let world = World::new(&chain);
        world.add(&chain.second).unwrap();
        world.call(Verb::Del, &chain.second).unwrap();
        let first = world.state();
        // What is shared may stay; a second time adds nothing to it.
        world.add(&chain.second).unwrap();
        let result = world.prev.clone();
        world.call(Verb::Del, &with_prev(&chain.second, &result)).unwrap();
        assert_same(&first, &world.state(), &chain.second.to_string());
        world.call(Verb::Del, &chain.second).unwrap();
        assert_same(&first, &world.state(), &chain.second.to_string());
    }
}

#[test]
fn del_works_without_namespace_and_with_nothing_left() {
    for chain in chains() {
        let world = World::new(&chain);
        world.add(&chain.second).unwrap();
        let invocation =
            Invocation { netns: String::new(), args: String::new(), ..testing::invocation(&chain.second) };
        let plugin = world.registry.plugin(chain.second["type"].as_str().unwrap()).unwrap();
        for _ in 0..2 {
            polynic_cni::invoke(&plugin, Verb::Del, &invocation).unwrap();
        }
    }
}

#[test]
fn without_prev_result_add_is_an_error() {
    for chain in chains() {
        let world = World::new(&chain);
        let error = world.call(Verb::Add, &chain.second).expect_err("no prevResult");
        assert_eq!(error.code, 999, "{error:?}");
    }
}

/// As the replaced plugin writes it, for whoever goes back to that: by it the interface is what it was.
#[test]
fn tuning_keeps_the_replaced_plugins_file_of_what_there_was() {
    let keys =
        json!({"mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 500});
    let mut second = json!({"cniVersion": "1.1.0", "name": "lab", "type": "tuning"});
    let macvlan = json!({"cniVersion": "1.1.0", "name": "lab", "type": "macvlan", "master": "eth0"});
    let world = World::new(&Chain { first: macvlan.clone(), second: second.clone() });
    let before = world.state();
    let file = world.directory.path().join("tuning/c1_net1.json");
    second["sysctl"] = json!({"net.ipv4.conf.IFNAME.arp_notify": "1"});
    world.add(&second).unwrap();
    assert!(!file.exists(), "settings are not kept");
    world.call(Verb::Del, &second).unwrap();
    second.as_object_mut().unwrap().remove("sysctl");
    keys.as_object().unwrap().iter().for_each(|(key, value)| second[key] = value.clone());
    world.add(&second).unwrap();
    let mac = world.prev.interfaces[0].mac.clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = [
        "{",
        &format!(" \"mac\": \"{mac}\","),
        " \"promisc\": false,",
        " \"mtu\": 1500,",
        " \"allmulti\": false,",
        " \"txQLen\": 1000",
        "}",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    // A second one in the chain has found what the first had made.
    let mut third = second.clone();
    third["mtu"] = json!(1300);
    world.add(&third).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    std::fs::remove_dir_all(world.directory.path().join("state")).unwrap();
    world.call(Verb::Del, &third).unwrap();
    assert_same(&before, &world.state(), "by the file alone");
    assert!(!file.exists());
    world.add(&second).unwrap();
    world.call(Verb::Del, &second).unwrap();
    assert_same(&before, &world.state(), "by the record");
    assert!(!file.exists(), "goes with the attachment");
}
