//! ptp (spec/plugins.md 1.4).

use polynic_e2e::{Call, Node, Pod, reaches, source_seen};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

fn ptp(node: &Node, keys: Value) -> Value {
    let mut ipam = host_local(node, &["10.6.0.0/24", "fd00:6::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let mut conf = conf("ptp", json!({"ipam": ipam}));
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &["ip_forward", "forwarding=", "accept_ra", "table inet cni_plugins_masquerade"] }
}

#[test]
fn it_routes_both_families() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Pod::new(), Pod::new());
    let call = Call::new(&a, ptp(&node, json!({"mtu": 1400})));
    let before = place(&node).before(&a);
    let result = place(&node).attach(
        &a,
        &call,
        &[
            "link net1 up mtu 1400 kind veth",
            "addr net1 10.6.0.2/24 brd 10.6.0.255 scope global",
            "addr net1 fd00:6::2/64 scope global",
            "route 4 10.6.0.1 dev net1 scope link src 10.6.0.2",
            "route 4 10.6.0.0/24 via 10.6.0.1 dev net1 src 10.6.0.2",
            "route 4 default via 10.6.0.1 dev net1",
            "route 6 fd00:6::1 dev net1 src fd00:6::2 metric 1024",
            "route 6 fd00:6::/64 via fd00:6::1 dev net1 src fd00:6::2 metric 1024",
            "route 6 default via fd00:6::1 dev net1 metric 1024",
        ],
    );
    let state = node.state();
    for line in [
        "link vethX up mtu 1400 kind veth",
        "addr vethX 10.6.0.1/32 scope global",
        "addr vethX fd00:6::1/128 scope global",
        "route 4 10.6.0.2 dev vethX scope host",
        "route 6 fd00:6::2 dev vethX metric 1024",
        "sysctl ipv6/conf/vethX/accept_ra=0",
        "sysctl ipv4/ip_forward=1",
        "sysctl ipv6/conf/all/forwarding=1",
    ] {
        assert!(state.has(line), "{line} in\n{state:?}");
    }
    assert_eq!(
        result["interfaces"][0]["name"].as_str(),
        state.link_names().into_iter().find(|n| n.starts_with("veth"))
    );
    let other = Call::new(&b, ptp(&node, json!({})));
    other.add();
    assert!(["10.6.0.3", "fd00:6::3"].iter().all(|address| reaches(&a.netns, &b.netns, address)));
    assert!(reaches(&a.netns, node.netns(), "10.6.0.1") && reaches(node.netns(), &a.netns, "fd00:6::2"));
    other.del();
    place(&node).detach(&a, &call, &before);
}

#[test]
fn masquerade_gives_the_world_the_nodes_address() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, ptp(&node, json!({"ipMasq": true})));
    let before = place(&node).before(&pod);
    let result = call.add();
    assert_eq!(source_seen(&pod.netns, &node.wire().netns, "198.51.100.7"), "192.168.1.10".parse().ok());
    assert_eq!(source_seen(&pod.netns, &node.wire().netns, "2001:db8::7"), "fd00:1::10".parse().ok());
    assert_eq!(call.check(&result).silent(), "");
    place(&node).detach(&pod, &call, &before);
}

#[test]
fn it_deletes_with_whatever_is_left() {
    let Some(node) = Node::new() else { return };
    let conf = ptp(&node, json!({"ipMasq": true}));
    place(&node).deletes_with_whatever_is_left(|pod| Call::new(pod, conf.clone()));
}

#[test]
fn what_cannot_work_changes_nothing() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let before = place(&node).before(&pod);
    let no_gateway = json!({"ipam": {"type": "static", "addresses": [{"address": "10.6.0.2/24"}]}});
    for keys in [no_gateway, json!({"ipam": {}}), json!({"ipMasqBackend": "x"})] {
        let (code, msg) = Call::new(&pod, ptp(&node, keys.clone())).run("ADD").error();
        assert_eq!(code, 999, "{keys}: {msg}");
        place(&node).assert_nothing_left(&pod, &before, &msg);
    }
}
