//! `host-device` (spec/plugins.md 1.5).

use std::path::Path;

use polynic_e2e::{Call, Node, Pod, reaches};
use polynic_kernel::netns::unpin;
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local};

/// A node with a second wire, `eth1`, to the same router.
fn node() -> Option<Node> {
    let node = Node::new()?;
    let router = node.wire().path.trim_start_matches("/run/netns/").to_owned();
    node.ip(&format!(
        "link add eth1 address 02:00:00:00:00:11 type veth peer name wire1 netns {router}\nlink set eth1 up"
    ));
    node.wire().ip(
        "address add 192.168.2.1/24 dev wire1\naddress add fd00:2::1/64 dev wire1 nodad\nlink set wire1 up",
    );
    Some(node)
}

fn device(node: &Node, keys: Value) -> Value {
    let mut conf = conf("host-device", keys);
    conf["ipam"] = host_local(node, &["192.168.2.0/24", "fd00:2::/64"]);
    conf["ipam"]["ranges"][0][0]["rangeStart"] = json!("192.168.2.50");
    conf["ipam"]["ranges"][1][0]["rangeStart"] = json!("fd00:2::50");
    conf
}

fn place(node: &Node) -> Place<'_> {
    Place { node, shared: &[] }
}

#[test]
fn a_device_goes_into_the_pod_and_comes_back_under_its_name() {
    let Some(node) = node() else { return };
    for keys in [json!({"device": "eth1"}), json!({"hwaddr": "02:00:00:00:00:11"})] {
        node.ip("link set eth1 down");
        let pod = Pod::new();
        let before = place(&node).before(&pod);
        node.ip("link set eth1 up");
        let call = Call::new(&pod, device(&node, keys));
        let result = call.add();
        assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:11");
        assert!(node.state().starting("link eth1 ").is_empty());
        assert_eq!(pod.state().starting("addr net1 192.168.2.5").len(), 1);
        assert!(reaches(&pod.netns, &node.wire().netns, "192.168.2.1"));
        assert!(reaches(&pod.netns, &node.wire().netns, "fd00:2::1"));
        assert_eq!(call.check(&result).silent(), "");
        assert_eq!(call.add(), result, "a repeated ADD");
        // Down, as it was before.
        place(&node).detach(&pod, &call, &before);
    }
}

#[test]
fn without_a_record_the_alias_says_where_it_belongs() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, device(&node, json!({"device": "eth1"})));
    call.add();
    std::fs::remove_dir_all(crate::life::records(&pod.id)).unwrap();
    call.del();
    assert_eq!(node.state().starting("link eth1 down").len(), 1, "{:?}", node.state());
    assert_eq!(node.addresses_held("net"), Vec::<String>::new());
    call.del();
}

#[test]
fn a_failed_add_leaves_the_device_up_on_the_node() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let before = node.state();
    let mut conf = device(&node, json!({"device": "eth1"}));
    conf["ipam"]["routes"] = json!([{"dst": "10.0.0.0/8", "gw": "10.9.9.9"}]);
    let (_, text) = Call::new(&pod, conf).run("ADD").error();
    assert!(text.contains("10.0.0.0/8"), "{text}");
    node.state().assert_same(&before, "after the failed ADD");
    assert_eq!(node.addresses_held("net"), Vec::<String>::new());
}

#[test]
fn a_name_that_is_taken_on_the_node_keeps_the_device_in_the_pod() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, device(&node, json!({"device": "eth1"})));
    call.add();
    node.ip("link add eth1 type bridge");
    let (_, text) = call.run("DEL").error();
    assert!(text.contains("eth1") || text.contains("net1"), "{text}");
    assert_eq!(node.addresses_held("net").len(), 2, "the address stays as long as the link has it");
    node.ip("link delete eth1");
    call.del();
    assert_eq!(node.state().starting("link eth1 down").len(), 1);
}

#[test]
fn addresses_are_given_back_when_the_pod_is_gone() {
    let Some(node) = node() else { return };
    for vanish in [false, true] {
        let pod = Pod::new();
        let call = Call::new(&pod, device(&node, json!({"device": "eth1"})));
        call.add();
        unpin(Path::new(&pod.path)).unwrap();
        match vanish {
            true => call.del(),
            false => call.without("CNI_NETNS").del(),
        }
        assert_eq!(node.addresses_held("net"), Vec::<String>::new());
        // A veth dies with its namespace; hardware goes back to the node.
        let router = node.wire().path.trim_start_matches("/run/netns/").to_owned();
        drop(pod);
        if node.state().starting("link eth1 ").is_empty() {
            node.ip(&format!("link add eth1 type veth peer name w{vanish} netns {router}"));
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_named_and_status_says_so() {
    let Some(node) = node() else { return };
    let pod = Pod::new();
    let call = Call::new(&pod, device(&node, json!({"device": "eth9"})).clone());
    assert_eq!(call.run("ADD").error(), (999, "failed to find host device: Link not found: eth9".to_owned()));
    let none = Call::new(&pod, conf("host-device", json!({}))).run("ADD").error();
    assert_eq!(none.1, r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#);
    let status = call.key("cniVersion", json!("1.1.0")).run("STATUS").error();
    assert_eq!(status.0, 50);
}
