//! bandwidth (spec/plugins.md 3.3), with packets.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use polynic_e2e::{Call, Node, Pod, reaches, run_in_vm};
use polynic_kernel::netns::Netns;
use serde_json::{Value, json};

use crate::life::{conf, host_local, records};

/// Ten kilobytes at once and ten in a second: of a burst that is longer some ten pass, some ten wait, and the rest is lost.
const SLOW: (u64, u64) = (80_000, 80_000);
/// Datagrams of one burst, of a kilobyte each.
const BURST: usize = 60;
/// With limits, fewer than these arrive.
const FEW: usize = 40;

fn ptp(node: &Node, pod: &Pod, ifname: &str) -> (Call, Value) {
    let mut ipam = host_local(node, &["10.6.0.0/24"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    let call = Call::new(pod, conf("ptp", json!({ "ipam": ipam }))).with("CNI_IFNAME", ifname);
    let result = call.add();
    (call, result)
}

fn bandwidth(pod: &Pod, keys: Value, prev: &Value) -> Call {
    Call::new(pod, conf("bandwidth", keys)).key("prevResult", prev.clone())
}

fn both() -> Value {
    json!({"ingressRate": 1_000_000, "ingressBurst": 80_000, "egressRate": 2_000_000, "egressBurst": 160_000})
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

/// How many datagrams of a burst arrive, once the way there is known to work.
fn arrived<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> usize {
    assert!(reaches(from, to, address), "{address}");
    let at = format!("{address}:9000");
    let server = to.run({
        let at = at.clone();
        move || UdpSocket::bind(at).unwrap()
    });
    let server = server.unwrap();
    server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let client = from.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    for _ in 0..BURST {
        client.send_to(&[0; 1000], &at).unwrap();
    }
    let mut buffer = [0; 2000];
    (0..BURST).take_while(|_| server.recv_from(&mut buffer).is_ok()).count()
}

#[test]
fn the_nodes_end_of_the_cable_has_the_numbers_of_the_contract() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (first, prev) = ptp(&node, &pod, "net1");
    let before = (node.state(), pod.state());
    let call = bandwidth(&pod, both(), &prev);
    let result = call.add();
    let ifb = &result["interfaces"][2];
    assert!(ifb["name"].as_str().unwrap().starts_with("bwp"), "{result}");
    assert_eq!(ifb["mac"], node.state().mac(ifb["name"].as_str().unwrap()));
    assert_eq!(ifb["sandbox"], Value::Null);
    let state = node.state();
    for line in [
        "link bwpX up mtu 1500 kind ifb",
        "qdisc tbf 1: dev vethX root rate 1Mbit burst 10000b lat 25ms",
        "qdisc tbf 1: dev bwpX root rate 2Mbit burst 20000b lat 25ms",
        "qdisc ingress ffff: dev vethX parent ffff:fff1 ----------------",
    ] {
        assert!(state.has(line), "{line} in\n{state:?}");
    }
    assert_eq!(call.check(&result).silent(), "");
    assert_eq!(first.check(&result).silent(), "");
    assert_eq!(call.add(), result, "a repeated ADD");
    node.state().assert_same(&state, "a repeated ADD");
    let faster = call.clone().key("ingressRate", json!(3_000_000)).check(&result).error().1;
    assert!(faster.starts_with("Rate doesn't match"), "{faster}");
    call.del();
    node.state().assert_same(&before.0, "after DEL");
    pod.state().assert_same(&before.1, "the pod after DEL");
    call.del();
    first.del();
}

#[test]
fn a_burst_is_cut_in_the_direction_that_is_limited() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev) = ptp(&node, &pod, "net1");
    node.wire().ip("route add 10.6.0.0/24 via 192.168.1.10");
    let (rate, burst) = SLOW;
    let to_pod = || arrived(&node.wire().netns, &pod.netns, &address(&prev));
    let from_pod = || arrived(&pod.netns, &node.wire().netns, "192.168.1.1");
    assert_eq!((to_pod(), from_pod()), (BURST, BURST), "nothing is lost without limits");
    let ingress = bandwidth(&pod, json!({"ingressRate": rate, "ingressBurst": burst}), &prev);
    ingress.add();
    assert!(to_pod() < FEW, "towards the pod");
    assert_eq!(from_pod(), BURST);
    ingress.del();
    let egress = bandwidth(&pod, json!({}), &prev)
        .key("runtimeConfig", json!({"bandwidth": {"egressRate": rate, "egressBurst": burst}}));
    egress.add();
    assert!(from_pod() < FEW, "from the pod");
    assert_eq!(to_pod(), BURST);
    egress.del();
    assert_eq!((to_pod(), from_pod()), (BURST, BURST), "DEL lifts the limits");
}

/// Somebody fills the queue of a slow pod to the brim, and somebody else's packet goes past it: what waits in front of it does not grow with
/// the queue. Told by the order in which packets arrive, so that a slow machine sees the same.
#[test]
fn a_full_queue_lets_nobody_else_wait() {
    const TOKENS: usize = 400;
    const FLOOD: usize = 1500;
    /// Of the packets that wait: the ones that go out while a starved machine gets round to sending.
    const SLACK: usize = 200;
    let Some(node) = Node::new() else { return };
    if !node.has_qdisc("fq_codel") {
        return;
    }
    let pod = Pod::new();
    let (_, prev) = ptp(&node, &pod, "net1");
    node.wire().ip("route add 10.6.0.0/24 via 192.168.1.10");
    assert!(reaches(&node.wire().netns, &pod.netns, &address(&prev)));
    for place in [json!({}), json!({"unshapedSubnets": ["203.0.113.0/24"]})] {
        // Ten packets in a second, after the tokens are gone.
        let call = bandwidth(&pod, json!({"ingressRate": 80_000, "ingressBurst": TOKENS * 8000}), &prev);
        let call =
            place.as_object().unwrap().iter().fold(call, |call, (key, value)| call.key(key, value.clone()));
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "", "{place}");
        let at = format!("{}:9000", address(&prev));
        let server = pod.netns.run({
            let at = at.clone();
            move || UdpSocket::bind(at).unwrap()
        });
        let server = server.unwrap();
        server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let client = || node.wire().netns.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        let (flood, other) = (client(), client());
        for _ in 0..FLOOD {
            flood.send_to(&[0; 958], &at).unwrap();
        }
        let waiting = backlog(&node);
        assert!(waiting > 100, "{waiting} packets wait\n{:?}", node.state());
        let (mut before, end) = (0, Instant::now() + Duration::from_secs(60));
        loop {
            other.send_to(&[1], &at).unwrap();
            let mut buffer = [0; 2000];
            match server.recv_from(&mut buffer) {
                Ok((1, _)) => break,
                Ok(_) => before += 1,
                Err(_) => assert!(Instant::now() < end, "the other packet does not come"),
            }
        }
        assert!(before < TOKENS + SLACK, "{before} packets came first, of {FLOOD}");
        call.del();
    }
}

/// Packets that wait in the longest queue of the node.
fn backlog(node: &Node) -> usize {
    let shown = node.netns().run(|| Command::new("tc").args(["-s", "qdisc", "show"]).output().unwrap());
    let text = String::from_utf8(shown.unwrap().stdout).unwrap();
    let packets =
        |line: &str| line.trim().strip_prefix("backlog ")?.split(' ').nth(1)?.strip_suffix('p')?.parse().ok();
    text.lines().filter_map(packets).max().unwrap_or_default()
}

#[test]
fn what_this_kernel_lacks_is_tested_in_one_that_has_it() {
    run_in_vm(&["bandwidth::a_burst", "bandwidth::a_full", "bandwidth::the_nodes_end"]);
}

#[test]
fn networks_can_be_exempt_or_the_only_ones() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev) = ptp(&node, &pod, "net1");
    node.wire().ip("route add 10.6.0.0/24 via 192.168.1.10");
    let (rate, burst) = SLOW;
    let limits =
        json!({"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst});
    for (key, near, far) in [("shapedSubnets", false, true), ("unshapedSubnets", true, false)] {
        let call = bandwidth(&pod, limits.clone(), &prev).key(key, json!(["198.51.100.0/24", "fd00::/8"]));
        let result = call.add();
        assert_eq!(call.check(&result).silent(), "", "{key}");
        let slow = |address: &str| arrived(&pod.netns, &node.wire().netns, address) < FEW;
        assert_eq!(slow("198.51.100.7"), far, "{key}");
        assert_eq!(slow("192.168.1.1"), near, "{key}");
        let slow = arrived(&node.wire().netns, &pod.netns, &address(&prev)) < FEW;
        assert_eq!(slow, near, "{key}: from 192.168.1.1");
        call.del();
    }
}

#[test]
fn a_macvlan_is_shaped_inside_of_the_pod() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let mut ipam = host_local(&node, &["192.168.1.0/24"]);
    ipam["ranges"][0][0]["rangeStart"] = json!("192.168.1.200");
    let prev = Call::new(&pod, conf("macvlan", json!({"master": "eth0", "ipam": ipam}))).add();
    let before = pod.state();
    let (rate, burst) = SLOW;
    let limits =
        json!({"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst});
    let call = bandwidth(&pod, limits, &prev);
    let result = call.add();
    assert_eq!(result["interfaces"][1]["sandbox"], json!(pod.path), "{result}");
    assert_eq!(call.check(&result).silent(), "");
    assert!(arrived(&node.wire().netns, &pod.netns, &address(&prev)) < FEW, "towards the pod");
    assert!(arrived(&pod.netns, &node.wire().netns, "192.168.1.1") < FEW, "from the pod");
    call.del();
    pod.state().assert_same(&before, "after DEL");
    assert_eq!(arrived(&node.wire().netns, &pod.netns, &address(&prev)), BURST);
}

#[test]
fn two_attachments_of_one_network_are_independent() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev1) = ptp(&node, &pod, "net1");
    let (second, prev2) = ptp(&node, &pod, "net2");
    let before = node.state();
    let one = bandwidth(&pod, both(), &prev1);
    let two = bandwidth(&pod, both(), &prev2).with("CNI_IFNAME", "net2");
    let results = [one.add(), two.add()];
    assert_ne!(results[0]["interfaces"][2]["name"], results[1]["interfaces"][2]["name"]);
    one.del();
    assert_eq!(node.state().starting("qdisc ").len(), 3, "{:?}", node.state());
    assert_eq!(two.check(&results[1]).silent(), "");
    // The interface goes first, then nothing is left to say where the limits were.
    second.del();
    std::fs::remove_dir_all(records(&pod.id)).unwrap();
    let mut bare = two.without("CNI_NETNS");
    bare.conf.as_object_mut().unwrap().remove("prevResult");
    bare.del();
    bare.del();
    assert_eq!(node.state().starting("qdisc "), [""; 0]);
    assert_eq!(node.state().starting("link bwp"), [""; 0], "{before:?}");
}

#[test]
fn without_limits_nothing_is_done_and_wrong_ones_are_refused() {
    let Some(node) = Node::new() else { return };
    let pod = Pod::new();
    let (_, prev) = ptp(&node, &pod, "net1");
    let before = node.state();
    let idle = bandwidth(&pod, json!({}), &prev);
    assert_eq!(idle.add(), prev);
    assert_eq!(idle.check(&prev).silent(), "");
    for (keys, text) in [
        (json!({"ingressRate": 1000}), "if rate is set, burst must also be set"),
        (json!({"egressBurst": 1000}), "if burst is set, rate must also be set"),
        (json!({"ingressRate": 1000, "ingressBurst": 34_359_738_368_u64}), "burst cannot be more than 4GB"),
        (json!({"ingressRate": 1, "ingressBurst": 8}), "less than a byte"),
    ] {
        let (_, said) = bandwidth(&pod, keys.clone(), &prev).run("ADD").error();
        assert!(said.contains(text), "{keys}: {said}");
    }
    node.state().assert_same(&before, "nothing was done");
}
