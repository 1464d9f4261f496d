//! Whoever is in a pod may rename its interfaces, or take them elsewhere: DEL takes back what the plugin made, and nothing else. Links of the
//! node have several names.

use polynic_e2e::{Call, Node, Pod};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

const SHARED: [&str; 6] =
    ["br5", "ip_forward", "forwarding=", "accept_ra", "cni_plugins_masquerade", "cni_hostport"];

fn with_addresses(node: &Node, plugin: &str, keys: Value) -> Value {
    let mut conf = conf(plugin, keys);
    conf["ipam"] = host_local(node, &["10.5.0.0/24"]);
    conf
}

/// A node with `eth1`, a device to lend, under its own name.
fn node() -> Option<Node> {
    let node = Node::new()?;
    node.ip("link add eth1 address 02:00:00:00:00:11 type veth peer name eth1-far");
    Some(node)
}

/// The plugins that make an interface, each with its keys.
fn plugins(node: &Node) -> Vec<Value> {
    vec![
        with_addresses(node, "macvlan", json!({"master": "eth0"})),
        with_addresses(node, "bridge", json!({"bridge": "br5", "isGateway": true, "ipMasq": true})),
        with_addresses(node, "ptp", json!({"ipMasq": true})),
        with_addresses(node, "host-device", json!({"device": "eth1"})),
        with_addresses(node, "host-device", json!({"hwaddr": "02:00:00:00:00:11"})),
    ]
}

#[test]
fn an_interface_that_was_renamed_goes_and_what_has_its_name_stays() {
    let Some(node) = node() else { return };
    let place = Place { node: &node, shared: &SHARED };
    for conf in plugins(&node) {
        let pod = Pod::new();
        let before = place.before(&pod);
        let call = Call::new(&pod, conf.clone());
        let result = call.add();
        pod.ip("link set net1 down\nlink set net1 name lan0\nlink set lan0 up\nlink add net1 type bridge");
        assert!(call.check(&result).error().1.contains("net1"), "{conf}");
        call.del();
        let names = |state: &polynic_e2e::State| state.starting("link ").len();
        assert_eq!(pod.state().starting("link lan0"), [""; 0], "{conf}");
        assert_eq!(names(&pod.state()), names(&before.1) + 1, "{conf}: somebody's own link");
        place.assert_nothing_left(&pod, &before, &conf.to_string());
        call.del();
    }
}

/// What a chained plugin changed goes back on the interface that it was.
#[test]
fn a_renamed_device_comes_home_as_it_was() {
    let Some(node) = node() else { return };
    let place = Place { node: &node, shared: &SHARED };
    let pod = Pod::new();
    let before = place.before(&pod);
    let mac = node.state().mac("eth1").to_owned();
    let first = Call::new(&pod, with_addresses(&node, "host-device", json!({"device": "eth1"})));
    let prev = first.add();
    let tuning =
        Call::new(&pod, conf("tuning", json!({"mac": "02:00:00:00:00:55", "mtu": 1400, "txQLen": 77})));
    let tuning = tuning.key("prevResult", prev);
    tuning.add();
    pod.ip("link set net1 down\nlink set net1 name lan0\nlink set lan0 up");
    tuning.del();
    first.del();
    place.assert_nothing_left(&pod, &before, "after DEL");
    assert_eq!(node.state().mac("eth1"), mac);
}

/// As a container in the pod does that runs containers of its own.
#[test]
fn a_cable_whose_end_was_taken_to_another_namespace_goes() {
    let Some(node) = node() else { return };
    let place = Place { node: &node, shared: &SHARED };
    for conf in
        plugins(&node).into_iter().filter(|conf| ["bridge", "ptp"].contains(&conf["type"].as_str().unwrap()))
    {
        let (pod, other) = (Pod::new(), Pod::new());
        let before = (place.before(&pod), other.state());
        let call = Call::new(&pod, conf.clone());
        call.add();
        let inner = other.path.trim_start_matches("/run/netns/").to_owned();
        pod.ip(&format!("link set net1 netns {inner} name inner0"));
        call.del();
        place.assert_nothing_left(&pod, &before.0, &conf.to_string());
        other.state().assert_same(&before.1, &conf.to_string());
    }
}

/// What the replaced plugin attached has no record; the alias says where a device belongs.
#[test]
fn a_renamed_device_without_a_record_comes_home_by_its_alias() {
    let Some(node) = node() else { return };
    for keys in [json!({"device": "eth1"}), json!({"hwaddr": "02:00:00:00:00:11"})] {
        let pod = Pod::new();
        let call = Call::new(&pod, with_addresses(&node, "host-device", keys));
        call.add();
        pod.ip("link set net1 down\nlink set net1 name lan0");
        std::fs::remove_dir_all(crate::life::records(&pod.id)).unwrap();
        call.del();
        assert_eq!(node.state().starting("link eth1 down").len(), 1, "{:?}", node.state());
        assert_eq!(node.addresses_held("net"), [""; 0]);
    }
}

/// Names that a link has besides its own, of which one is longer than any link's own can be.
#[test]
fn links_are_found_by_alternative_names() {
    let Some(node) = node() else { return };
    let long = "a-name-that-is-longer-than-fifteen-bytes";
    for (link, short) in [("eth0", "uplink"), ("eth1", "port7")] {
        node.ip(&format!(
            "link property add dev {link} altname {short}\nlink property add dev {link} altname {long}-{link}"
        ));
    }
    let place = Place { node: &node, shared: &SHARED };
    for (plugin, key, name) in [
        ("macvlan", "master", "uplink".to_owned()),
        ("macvlan", "master", format!("{long}-eth0")),
        ("host-device", "device", "port7".to_owned()),
        ("host-device", "device", format!("{long}-eth1")),
    ] {
        let pod = Pod::new();
        let before = place.before(&pod);
        let mut keys = json!({"cniVersion": "1.1.0"});
        keys[key] = json!(name);
        let call = Call::new(&pod, with_addresses(&node, plugin, keys));
        if plugin == "macvlan" {
            assert_eq!(call.run("STATUS").silent(), "", "{name}");
        }
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "", "{name}");
        assert_eq!(call.add(), result, "{name}: a repeated ADD");
        place.detach(&pod, &call, &before);
    }
    let pod = Pod::new();
    let error = Call::new(&pod, with_addresses(&node, "macvlan", json!({"master": format!("{long}-eth9")})))
        .run("ADD")
        .error();
    assert_eq!(error, (999, format!("failed to look up master \"{long}-eth9\": Link not found")));
}

#[test]
fn a_bridge_with_another_name_besides_its_own_is_the_bridge() {
    let Some(node) = node() else { return };
    node.ip("link add br5 type bridge\nlink property add dev br5 altname lan\nlink set br5 up");
    let place = Place { node: &node, shared: &SHARED };
    let pod = Pod::new();
    let before = place.before(&pod);
    let keys = json!({"bridge": "lan", "isDefaultGateway": true, "ipMasq": true});
    let call = Call::new(&pod, with_addresses(&node, "bridge", keys));
    let result = call.add();
    assert_eq!(result["interfaces"][0]["name"], "br5");
    assert_eq!(node.state().starting("addr br5 10.5.0.1/24").len(), 1, "{:?}", node.state());
    assert!(polynic_e2e::reaches(&pod.netns, node.netns(), "10.5.0.1"));
    assert_eq!(call.check(&result).silent(), "");
    place.detach(&pod, &call, &before);
}
