use polynic_cni::{Error, Invocation, Output, Verb, invoke};
use polynic_kernel::{Door, FakeDoor};
use polynic_net::{Facts, LinkFact};
use serde_json::{Value, json};

use super::*;
use crate::{Registry, testing};

struct Node {
    door: FakeDoor,
    registry: Registry,
    _directory: tempfile::TempDir,
}

impl Node {
    /// A node with three interfaces that are up.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let door = FakeDoor::new();
        door.host(|host| {
            for name in ["e1", "e2", "e3"] {
                host.physical(name);
            }
        });
        let registry = Registry::new(testing::host(&door, directory.path()));
        Self { door, registry, _directory: directory }
    }

    fn call(&self, verb: Verb, keys: &Value) -> Result<Output, Error> {
        let mut conf = json!({"cniVersion": "1.0.0", "name": "lan", "type": TYPE});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let invocation = Invocation { netns: "/run/netns/gone".into(), ..testing::invocation(&conf) };
        invoke(&self.registry.plugin(TYPE).unwrap(), verb, &invocation)
    }

    fn add(&self, keys: Value) -> Result<(), String> {
        let success = self.call(Verb::Add, &keys).map_err(|e| e.msg)?.into_success(TYPE).unwrap();
        assert!(success.ips.is_empty() && success.interfaces.is_empty());
        Ok(())
    }

    fn facts(&self) -> Facts {
        self.door.open(None).unwrap().observe(&all_links()).unwrap()
    }

    fn links(&self) -> Vec<LinkFact> {
        self.facts().host.links
    }

    fn link(&self, name: &str) -> LinkFact {
        let found = self.links().into_iter().find(|link| link.name.as_str() == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }
}

#[test]
fn a_vlan_link_is_made_once_and_stays() {
    let node = Node::new();
    let keys = json!({"interfaces": ["e1"], "vlanID": 7});
    node.add(keys.clone()).unwrap();
    let made = node.link("e1.7");
    assert_eq!(
        (made.kind.as_str(), made.vlan_id, made.up, node.link("e1").up),
        ("vlan", Some(7), true, true)
    );
    node.add(keys.clone()).unwrap();
    assert_eq!(node.link("e1.7").index, made.index);
    for verb in [Verb::Check, Verb::Del] {
        node.call(verb, &keys).unwrap();
    }
    assert_eq!(node.link("e1.7").index, made.index);
    let why = node.add(json!({"interfaces": ["e2"], "vlanID": 7})).unwrap_err();
    assert!(why.contains("e2.7") && why.contains("interface e1.7 of the node has VLAN 7 already"), "{why}");
}

#[test]
fn nothing_is_made_where_nothing_is_asked_for() {
    let node = Node::new();
    let before = node.links();
    node.add(json!({"interfaces": ["e1"]})).unwrap();
    node.add(json!({"interfaces": ["e1", "e2"], "vlanID": 7})).unwrap();
    node.add(json!({"interfaces": ["e1"], "bond": {"name": "b0", "mode": 1}})).unwrap();
    assert_eq!(node.links(), before);
}

#[test]
fn a_bond_takes_its_ports_and_carries_a_vlan() {
    let node = Node::new();
    let keys = json!({"interfaces": ["e1", "e2"], "vlanID": 9, "bond": {"name": "b0", "mode": 1, "options": "miimon=100;active_slave=e2"}});
    node.add(keys.clone()).unwrap();
    let bond = node.link("b0");
    assert_eq!((bond.kind.as_str(), bond.up, node.link("b0.9").vlan_id), ("bond", true, Some(9)));
    for port in ["e1", "e2"] {
        assert_eq!((node.link(port).master, node.link(port).up), (Some(bond.index), true), "{port}");
    }
    assert_eq!(bond.mac, node.link("e2").mac, "the active one joined first");
    let before = node.links();
    node.add(keys).unwrap();
    assert_eq!(node.links(), before);
    let why = node.add(json!({"interfaces": ["e1", "e3"], "bond": {"name": "b1", "mode": 1}})).unwrap_err();
    assert!(why.contains("e1") && why.contains("port of b0"), "{why}");
    let why = node.add(json!({"interfaces": ["e1", "e2"], "bond": {"name": "e3", "mode": 1}})).unwrap_err();
    assert!(why.contains("interface e3 of the node is no bond"), "{why}");
    let why = node.add(json!({"interfaces": ["e8", "e9"], "bond": {"name": "b1", "mode": 1}})).unwrap_err();
    assert!(why.contains("the node has no interface e8"), "{why}");
    assert_eq!(node.links(), before);
}

#[test]
fn a_failure_at_any_step_leaves_the_node_as_it_was() {
    let keys =
        json!({"interfaces": ["e1", "e2"], "vlanID": 9, "bond": {"mode": 4, "options": "lacp_rate=fast"}});
    let steps = {
        let node = Node::new();
        let before = node.door.operations();
        node.add(keys.clone()).unwrap();
        node.door.operations() - before
    };
    assert!(steps >= 8, "{steps}");
    for step in 1..=steps {
        let node = Node::new();
        let before = node.door.snapshot();
        node.door.fail_at(step);
        let why = node.add(keys.clone()).expect_err("the step failed");
        assert_eq!(before.diff(&node.door.snapshot()), Vec::<String>::new(), "step {step}: {why}");
        node.add(keys.clone()).unwrap_or_else(|why| panic!("again after step {step}: {why}"));
    }
}
