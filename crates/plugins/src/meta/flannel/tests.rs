//! The plugin over the fake kernel, with `bridge` and host-local as it finds them.

use std::fs;
use std::path::PathBuf;

use polynic_cni::{Error, Invocation, Output, Success, Verb};
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{Needs, Place};
use serde_json::{Value, json};

use crate::testing::{self, NETNS};
use crate::{Host, Registry};

struct World {
    door: FakeDoor,
    registry: Registry,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("eth0").address("eth0", "192.168.1.10/24");
        });
        door.add_netns(NETNS);
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(Host { seed: Box::new(rand), ..testing::host(&door, directory.path()) });
        let world = Self { door, registry, directory };
        world.daemon_says("10.233.66.1/24");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn daemon_says(&self, subnet: &str) {
        let text = format!(
            "FLANNEL_NETWORK=10.233.0.0/16\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        );
        fs::write(self.path("subnet.env"), text).unwrap();
    }

    fn conf(&self, network: &str) -> Value {
        json!({
            "cniVersion": "1.1.0", "name": network, "type": "flannel",
            "subnetFile": self.path("subnet.env"), "dataDir": self.path("notes"),
            "delegate": {"hairpinMode": true, "isDefaultGateway": false},
            "ipam": {"dataDir": self.path("addresses")},
        })
    }

    fn call(&self, verb: Verb, conf: &Value, container_id: &str, ifname: &str) -> Result<Output, Error> {
        let invocation = Invocation {
            container_id: container_id.into(),
            ifname: ifname.into(),
            ..testing::invocation(conf)
        };
        polynic_cni::invoke(&self.registry.plugin("flannel").unwrap(), verb, &invocation)
    }

    fn add(&self, network: &str, container_id: &str, ifname: &str) -> Result<Success, Error> {
        self.call(Verb::Add, &self.conf(network), container_id, ifname)?.into_success("flannel")
    }

    fn del(&self, network: &str, container_id: &str, ifname: &str) -> Result<Output, Error> {
        self.call(Verb::Del, &self.conf(network), container_id, ifname)
    }

    fn address(&self, network: &str, container_id: &str, ifname: &str) -> String {
        self.add(network, container_id, ifname).unwrap().ips[0].address.to_string()
    }

    fn files(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.') && name != "lock" && !name.starts_with("last_"));
        names.sort();
        names
    }

    fn bridge_addresses(&self) -> Vec<String> {
        let mut needs = Needs::default();
        needs.host.addresses.push("cni0".parse().unwrap());
        let facts = self.door.open(None).unwrap().observe(&needs).unwrap();
        let found = facts.host.addresses.iter().filter(|a| a.net.addr().is_ipv4());
        found.map(|a| a.net.to_string()).collect()
    }
}

/// Names of cables must differ from call to call.
fn rand() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn a_pod_gets_what_the_guides_show() {
    let world = World::new();
    let result = world.add("flannel", "c1", "net1").unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.233.66.2/24");
    assert_eq!(result.routes.iter().map(|r| r.dst.to_string()).collect::<Vec<_>>(), ["10.233.0.0/16"]);
    assert_eq!(world.bridge_addresses(), ["10.233.66.1/24"]);
    let mut needs = Needs::default();
    (needs.pod.routes, needs.pod.links) = (true, polynic_net::LinkNeed::All);
    let pod = world.door.open(Some(NETNS)).unwrap().observe(&needs).unwrap().pod.unwrap();
    let routes: Vec<String> = pod.routes.iter().map(ToString::to_string).collect();
    assert!(routes.contains(&"10.233.0.0/16 via 10.233.66.1 dev net1".to_owned()), "{routes:?}");
    assert!(!routes.iter().any(|r| r.starts_with("default")), "{routes:?}");
    assert_eq!(pod.link(&"net1".parse().unwrap()).unwrap().mtu, 1450);
}

#[test]
fn two_attachments_of_one_pod_are_independent() {
    let world = World::new();
    let first = world.address("flannel", "c1", "net1");
    let second = world.address("flannel", "c1", "net2");
    let third = world.address("other", "c1", "net3");
    assert_eq!([&*first, &*second, &*third], ["10.233.66.2/24", "10.233.66.3/24", "10.233.66.4/24"]);
    world.del("flannel", "c1", "net1").unwrap();
    assert_eq!(world.files("addresses/flannel"), ["10.233.66.3", "10.233.66.4"]);
    world.del("flannel", "c1", "net1").unwrap();
    world.del("other", "c1", "net3").unwrap();
    assert_eq!(world.files("addresses/flannel"), ["10.233.66.3"]);
    assert_eq!(world.files("notes"), ["c1:net2"]);
    world.del("flannel", "c1", "net2").unwrap();
    assert_eq!((world.files("addresses/flannel").len(), world.files("notes").len()), (0, 0));
}

#[test]
fn del_needs_no_daemon_and_its_second_time_succeeds() {
    let world = World::new();
    world.add("flannel", "c1", "net1").unwrap();
    fs::remove_file(world.path("subnet.env")).unwrap();
    for _ in 0..2 {
        world.del("flannel", "c1", "net1").unwrap();
    }
    assert_eq!((world.files("addresses/flannel").len(), world.files("notes").len()), (0, 0));
}

#[test]
fn a_note_of_the_replaced_plugin_is_honoured_at_del() {
    let world = World::new();
    world.add("flannel", "c1", "net1").unwrap();
    assert_eq!(world.files("notes"), ["c1", "c1:net1"]);
    // As the replaced plugin leaves it.
    fs::remove_file(world.path("notes/c1:net1")).unwrap();
    world.del("flannel", "c1", "net1").unwrap();
    assert_eq!((world.files("addresses/flannel").len(), world.files("notes").len()), (0, 0));
    fs::write(world.path("notes/c2"), "{ torn").unwrap();
    world.del("flannel", "c2", "net1").unwrap();
    assert_eq!(world.files("notes").len(), 0);
}

#[test]
fn whatever_fails_in_add_nothing_stays() {
    let world = World::new();
    let before = world.door.snapshot();
    let mut step = 0;
    loop {
        step += 1;
        let fork = world.door.fork();
        let registry = Registry::new(Host {
            state: world.path(&format!("state{step}")),
            seed: Box::new(rand),
            ..testing::host(&fork, world.directory.path())
        });
        fork.fail_at(step);
        let invocation = testing::invocation(&world.conf("flannel"));
        let plugin = registry.plugin("flannel").unwrap();
        let Err(error) = polynic_cni::invoke(&plugin, Verb::Add, &invocation) else { break };
        assert!(error.msg.starts_with("failed to delegate add: "), "{error}");
        assert_eq!(before.diff(&fork.snapshot()), Vec::<String>::new(), "step {step}");
        assert_eq!(
            (world.files("addresses/flannel").len(), world.files("notes").len()),
            (0, 0),
            "step {step}"
        );
    }
    assert!(step > 5, "{step}");
}

#[test]
fn without_the_daemons_file_add_says_whom_to_ask_and_status_is_50() {
    let world = World::new();
    fs::remove_file(world.path("subnet.env")).unwrap();
    let error = world.add("flannel", "c1", "net1").unwrap_err();
    assert!(error.msg.contains("subnet.env") && error.msg.contains("flannel pod"), "{error}");
    assert_eq!(error.code, 999);
    let status = world.call(Verb::Status, &world.conf("flannel"), "", "");
    assert_eq!(status.unwrap_err().code, 50);
    world.daemon_says("10.233.66.1/24");
    world.call(Verb::Status, &world.conf("flannel"), "", "").unwrap();
}

#[test]
fn check_compares_what_the_delegate_promised() {
    let world = World::new();
    let result = world.add("flannel", "c1", "net1").unwrap();
    let mut conf = world.conf("flannel");
    conf["prevResult"] = serde_json::from_str(&result.print(result.cni_version).unwrap()).unwrap();
    world.call(Verb::Check, &conf, "c1", "net1").unwrap();
    let removed = polynic_net::Change::attr(
        Place::Pod,
        &"net1".parse().unwrap(),
        polynic_net::Attr::Mtu(1450),
        polynic_net::Attr::Mtu(1400),
    );
    world.door.open(Some(NETNS)).unwrap().apply(&removed).unwrap();
    assert!(world.call(Verb::Check, &conf, "c1", "net1").is_err());
    assert!(world.call(Verb::Check, &conf, "c9", "net1").is_err());
}

#[test]
fn gc_releases_what_is_not_listed_and_nothing_of_another_network() {
    let world = World::new();
    world.add("flannel", "c1", "net1").unwrap();
    world.add("flannel", "c2", "net2").unwrap();
    world.add("other", "c3", "net3").unwrap();
    let mut conf = world.conf("flannel");
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "net1"}]);
    world.call(Verb::Gc, &conf, "", "").unwrap();
    assert_eq!(world.files("notes"), ["c1", "c1:net1", "c3", "c3:net3"]);
    assert_eq!(world.files("addresses/flannel").len(), 2, "that of c1 and the other network's");
}

#[test]
fn after_another_podcidr_new_pods_start_and_the_old_gateway_stays() {
    let world = World::new();
    world.add("flannel", "c1", "net1").unwrap();
    world.daemon_says("10.233.70.1/24");
    assert_eq!(world.address("flannel", "c1", "net2"), "10.233.70.2/24");
    assert_eq!(world.bridge_addresses(), ["10.233.66.1/24", "10.233.70.1/24"]);
    world.del("flannel", "c1", "net1").unwrap();
    assert_eq!(world.files("addresses/flannel"), ["10.233.70.2"]);
}
