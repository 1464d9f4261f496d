//! `ifacer`: VLAN links and bonds of the node (spec/spiderpool.md 12), with packets of a pod on top. Most kernels for containers lack bonds: then the
//! tests run in a throw-away kernel.

use std::collections::BTreeMap;

use polynic_e2e::{Call, Node, Pod, reaches, run_in_vm};
use serde_json::{Value, json};

use crate::life::conf;

fn ifacer(pod: &Pod, keys: Value) -> Call {
    Call::new(pod, conf("ifacer", keys))
}

/// A pod with an address on a link of the node.
fn on(master: &str, address: &str) -> (Pod, Call) {
    let pod = Pod::new();
    let ipam = json!({"type": "static", "addresses": [{"address": address}]});
    let call = Call::new(&pod, conf("macvlan", json!({"master": master, "ipam": ipam})));
    call.add();
    (pod, call)
}

/// What the kernel says of a bond, `key: value` by line; of its ports the last.
fn bond(name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/bonding/{name}")).unwrap();
    let pairs = text.lines().filter_map(|line| line.trim().split_once(": "));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Two more wires, `p1` and `p2`, to a switch with 10.50.0.1/24, and 10.77.0.1/24 in VLAN 7.
fn two_wires(node: &Node) {
    let wire = node.wire();
    let end = wire.path.trim_start_matches("/run/netns/");
    wire.ip("link add switch type bridge
             link set switch up
             address add 10.50.0.1/24 dev switch
             link add link switch name switch7 type vlan id 7
             address add 10.77.0.1/24 dev switch7
             link set switch7 up");
    for n in [1, 2] {
        node.ip(&format!("link add p{n} type veth peer name w{n} netns {end}\nlink set p{n} up"));
        wire.ip(&format!("link set w{n} master switch up"));
    }
}

#[test]
fn a_vlan_link_carries_a_pod() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["link eth0 type vlan id 9"]) {
        return;
    }
    two_wires(&node);
    let first = Pod::new();
    let call = ifacer(&first, json!({"interfaces": ["p1"], "vlanID": 7}));
    let result = call.add();
    assert!(result.get("interfaces").is_none() && result.get("ips").is_none(), "{result}");
    let (pod, macvlan) = on("p1.7", "10.77.0.5/24");
    assert!(reaches(&pod.netns, &node.wire().netns, "10.77.0.1"));
    let before = node.state();
    call.add();
    call.del();
    assert_eq!(call.run("CHECK").silent(), "");
    node.state().assert_same(&before, "ADD again, DEL, CHECK");
    let other = ifacer(&first, json!({"interfaces": ["p2"], "vlanID": 7}));
    let (_, msg) = other.run("ADD").error();
    assert!(msg.contains("interface p1.7 of the node has VLAN 7 already"), "{msg}");
    node.state().assert_same(&before, "a refused ADD");
    macvlan.del();
}

#[test]
fn a_bond_survives_the_loss_of_a_wire() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bond", "link eth0 type vlan id 9"]) {
        return;
    }
    two_wires(&node);
    let first = Pod::new();
    let options = "miimon=20;primary=p2;unknown=7;up_delay=0";
    let bond_keys = json!({"name": "b0", "mode": 1, "options": options});
    let call = ifacer(&first, json!({"interfaces": ["p1", "p2"], "vlanID": 7, "bond": bond_keys}));
    call.add();
    let told = bond("b0");
    assert_eq!(told["Bonding Mode"], "fault-tolerance (active-backup)");
    assert_eq!(told["MII Polling Interval (ms)"], "20");
    assert!(told["Primary Slave"].starts_with("p2"), "{told:?}");
    let before = node.state();
    call.add();
    call.del();
    node.state().assert_same(&before, "ADD again, DEL");
    let (pod, macvlan) = on("b0.7", "10.77.0.5/24");
    assert!(reaches(&pod.netns, &node.wire().netns, "10.77.0.1"));
    node.wire().ip("link set w2 down");
    assert!(reaches(&pod.netns, &node.wire().netns, "10.77.0.1"), "the other wire carries it");
    macvlan.del();
}

#[test]
fn a_bonds_options_are_the_kernels() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type bond"]) {
        return;
    }
    two_wires(&node);
    let first = Pod::new();
    let make = |name: &str, mode: u8, options: &str| {
        let keys = json!({"name": name, "mode": mode, "options": options});
        ifacer(&first, json!({"interfaces": ["p1", "p2"], "bond": keys})).run("ADD")
    };
    make("b4", 4, "lacp_rate=fast;xmit_hash_policy=layer3+4;ad_select=2;min_links=2;miimon=50").result();
    let told = bond("b4");
    assert_eq!(told["Bonding Mode"], "IEEE 802.3ad Dynamic link aggregation");
    assert_eq!((told["Transmit Hash Policy"].as_str(), told["LACP rate"].as_str()), ("layer3+4 (1)", "fast"));
    assert_eq!(
        (told["Min links"].as_str(), told["Aggregator selection policy (ad_select)"].as_str()),
        ("2", "count")
    );
    let before = node.state();
    let (_, msg) = make("b1", 1, "").error();
    assert!(msg.contains("p1") && msg.contains("port of b4"), "{msg}");
    node.state().assert_same(&before, "ports in use");
    node.ip("link delete b4\nlink set p1 up\nlink set p2 up");
    make("b1", 1, "arp_interval=100;arp_ip_target=[10.50.0.1,10.50.0.2];active_slave=p2").result();
    let told = bond("b1");
    assert_eq!(told["ARP IP target/s (n.n.n.n form)"], "10.50.0.1, 10.50.0.2");
    node.ip("link delete b1\nlink set p1 up\nlink set p2 up");
    // What the kernel does not allow together leaves the ports as they were.
    let before = node.state();
    let (_, msg) = make("b4", 4, "arp_interval=100;arp_ip_target=[10.50.0.1]").error();
    assert!(msg.contains("b4"), "{msg}");
    node.state().assert_same(&before, "a mode without ARP");
}

#[test]
fn the_rest_runs_in_a_throw_away_kernel() {
    run_in_vm(&["ifacer::a"]);
}
