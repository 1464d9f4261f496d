//! Chained plugins behind a main one: `tuning`, `sbr`, `vrf` (spec/plugins.md 3).

use polynic_e2e::{Call, Node, Pod, State, reaches};
use serde_json::{Value, json};

use crate::life::{conf, host_local};

/// A pod with `net1` by a macvlan whose network is the node's, and the result to chain on.
fn attached(node: &Node) -> (Pod, Call, Value) {
    let pod = Pod::new();
    let mut first = conf(
        "macvlan",
        json!({"master": "eth0", "ipam": host_local(node, &["192.168.1.0/24", "fd00:1::/64"])}),
    );
    first["ipam"]["ranges"][0][0]["rangeStart"] = json!("192.168.1.200");
    first["ipam"]["ranges"][1][0]["rangeStart"] = json!("fd00:1::200");
    first["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let call = Call::new(&pod, first);
    let result = call.add();
    (pod, call, result)
}

/// The second plugin of the chain.
fn behind(pod: &Pod, plugin: &str, keys: Value, prev: &Value) -> Call {
    Call::new(pod, conf(plugin, keys)).key("prevResult", prev.clone())
}

fn assert_has(state: &State, lines: &[&str]) {
    for line in lines {
        assert!(state.has(line), "{line} in\n{state:?}");
    }
}

#[test]
fn tuning_sets_and_del_restores() {
    let Some(node) = Node::new() else { return };
    let (pod, first, prev) = attached(&node);
    let before = pod.state();
    let keys = json!({"sysctl": {"net.ipv4.conf.IFNAME.proxy_arp": "1", "net.core.somaxconn": "500"}, "mac": "02:00:00:00:00:55",
        "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77});
    let call = behind(&pod, "tuning", keys, &prev);
    let result = call.add();
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:55");
    assert_eq!(pod.state().mac("net1"), "02:00:00:00:00:55");
    assert_has(&pod.state(), &["sysctl ipv4/conf/net1/proxy_arp=1"]);
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(first.check(&result).silent(), "", "the plugin before agrees with what came after it");
    assert_eq!(call.add(), result, "a repeated ADD");
    pod.ip("link set net1 mtu 1300");
    assert!(call.check(&result).error().1.contains("Mtu"), "{:?}", call.check(&result));
    pod.ip("link set net1 mtu 1400");
    call.del();
    pod.state().assert_same(&before, "after DEL of tuning");
    call.del();
    first.del();
}

#[test]
fn tuning_refuses_what_is_no_setting_of_a_network() {
    let Some(node) = Node::new() else { return };
    let (pod, _, prev) = attached(&node);
    let before = pod.state();
    for (sysctl, text) in [
        (r#"{"kernel.panic": "1"}"#, "invalid net sysctl key: \"kernel.panic\""),
        (r#"{"net.ipv4.conf.nolink.proxy_arp": "1"}"#, "no such file or directory"),
        (
            r#"{"net.core.somaxconn": "1", "net.core.somaxconn": "2"}"#,
            "duplicated sysctl keys are not allowed",
        ),
    ] {
        let conf = format!(
            r#"{{"cniVersion": "1.0.0", "name": "net", "type": "tuning", "sysctl": {sysctl}, "prevResult": {prev}}}"#
        );
        let call = behind(&pod, "tuning", json!({}), &prev);
        let (_, said) = call.start_with("ADD", conf.as_bytes()).answer().error();
        assert!(said.contains(text), "{sysctl}: {said}");
        pod.state().assert_same(&before, sysctl);
    }
}

#[test]
fn sbr_moves_the_routes_of_its_interface_into_a_table_of_its_own() {
    let Some(node) = Node::new() else { return };
    let (pod, first, prev) = attached(&node);
    let before = pod.state();
    let call = behind(&pod, "sbr", json!({}), &prev);
    let result = call.add();
    let state = pod.state();
    let (v4, v6) = ("192.168.1.200", "fd00:1::200");
    assert_has(
        &state,
        &[
            &format!("rule -4 priority 32765 src {v4} table 100"),
            "route 4 default via 192.168.1.1 dev net1 table 100",
            "route 6 default via fd00:1::1 dev net1 metric 1024 table 101",
        ],
    );
    assert!(
        state
            .starting("route 4 default via 192.168.1.1 dev net1")
            .iter()
            .all(|line| line.contains("table 100"))
    );
    assert!(
        state
            .lines()
            .iter()
            .any(|line| line.starts_with("rule -6") && line.contains(v6) && line.contains("table 101"))
    );
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(first.check(&result).silent(), "", "the routes are where sbr put them");
    assert_eq!(call.add(), result, "a repeated ADD");
    // Who is asked by this address answers by it, although the main table knows no way.
    assert!(reaches(&node.wire().netns, &pod.netns, v4));
    assert!(reaches(&node.wire().netns, &pod.netns, v6));
    call.del();
    pod.state().assert_same(&before, "after DEL of sbr");
    first.del();
}

#[test]
fn sbr_with_a_table_only_adds_rules() {
    let Some(node) = Node::new() else { return };
    let (pod, _, prev) = attached(&node);
    let before = pod.state();
    let call = behind(&pod, "sbr", json!({"table": 250}), &prev);
    call.add();
    let new: Vec<String> = pod.state().diff(&before);
    assert!(new.iter().all(|line| line.starts_with("+rule") && line.contains("table 250")), "{new:?}");
    assert_eq!(new.len(), 2);
    std::fs::remove_dir_all(crate::life::records(&pod.id)).unwrap();
    call.del();
    pod.state().assert_same(&before, "after DEL without a record");
}

#[test]
fn a_vrf_takes_the_interface_with_addresses_and_routes() {
    let Some(node) = Node::new() else { return };
    if !node.offers(&["type vrf table 9"]) {
        return;
    }
    let (pod, first, prev) = attached(&node);
    let before = pod.state();
    let call = behind(&pod, "vrf", json!({"vrfname": "blue"}), &prev);
    let result = call.add();
    assert_has(
        &pod.state(),
        &[
            "addr net1 192.168.1.200/24 brd 192.168.1.255 scope global",
            "addr net1 fd00:1::200/64 scope global",
            "route 4 default via 192.168.1.1 dev net1 table 1",
            "route 6 default via fd00:1::1 dev net1 metric 1024 table 1",
        ],
    );
    assert_eq!(pod.state().starting("link net1 up mtu 1500 kind macvlan master blue").len(), 1);
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(first.check(&result).silent(), "");
    assert_eq!(call.add(), result, "a repeated ADD");
    let other = behind(&pod, "vrf", json!({"vrfname": "blue", "table": 7}), &prev);
    assert!(other.run("ADD").error().1.starts_with("cmdAdd failed: interface net1 has already a master"));
    call.del();
    // The kernel keeps its rule for VRFs once there was one.
    pod.state().without(&["priority 1000"]).assert_same(&before, "after DEL of vrf");
    call.del();
    first.del();
}

#[test]
fn what_this_kernel_lacks_is_tested_in_one_that_has_it() {
    polynic_e2e::run_in_vm(&["chained::a_vrf"]);
}
