//! Many processes at once on one node.

use std::collections::BTreeSet;

use polynic_e2e::{Call, Node, Pod, reaches};
use serde_json::{Value, json};

use crate::life::{Place, conf, host_local, records};

/// All at once, and all answers.
fn together(calls: &[Call], verb: &str) -> Vec<polynic_e2e::Answer> {
    let running: Vec<_> = calls.iter().map(|call| call.start(verb)).collect();
    running.into_iter().map(polynic_e2e::Running::answer).collect()
}

fn addresses(results: &[Value]) -> BTreeSet<String> {
    results.iter().map(|r| r["ips"][0]["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn twenty_at_once_get_twenty_addresses_of_a_small_range() {
    let Some(node) = Node::new() else { return };
    let pods: Vec<Pod> = (0..20).map(|_| Pod::new()).collect();
    let conf = conf("macvlan", json!({"master": "eth0", "ipam": host_local(&node, &["192.168.1.0/27"])}));
    let calls: Vec<Call> = pods.iter().map(|pod| Call::new(pod, conf.clone())).collect();
    let place = Place { node: &node, shared: &[] };
    let before = place.before(&pods[0]);
    let results: Vec<Value> = together(&calls, "ADD").iter().map(polynic_e2e::Answer::result).collect();
    assert_eq!(addresses(&results).len(), 20);
    assert_eq!(node.addresses_held("net").len(), 20);
    // Nine of the 29 are left: of twenty more, eleven must be told so, and lose nothing by it.
    let more: Vec<Pod> = (0..20).map(|_| Pod::new()).collect();
    let late: Vec<Call> = more.iter().map(|pod| Call::new(pod, conf.clone())).collect();
    let answers = together(&late, "ADD");
    assert_eq!(answers.iter().filter(|a| a.code == 0).count(), 9);
    for refused in answers.iter().filter(|a| a.code != 0) {
        assert!(refused.error().1.contains("no IP addresses available in range set"), "{}", refused.stdout);
    }
    for calls in [&calls, &late] {
        assert!(together(calls, "DEL").iter().all(|a| a.silent().is_empty()));
    }
    pods.iter().chain(&more).for_each(|pod| place.assert_nothing_left(pod, &before, "after all"));
}

#[test]
fn fifty_on_one_bridge_come_and_go() {
    let Some(node) = Node::new() else { return };
    let ipam = host_local(&node, &["10.5.0.0/24"]);
    let keys =
        json!({"bridge": "br5", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true, "ipam": ipam});
    let conf = conf("bridge", keys);
    let shared = ["br5", "ip_forward", "table inet cni_plugins_masquerade", "table bridge nat"];
    let place = Place { node: &node, shared: &shared };
    let pods: Vec<Pod> = (0..50).map(|_| Pod::new()).collect();
    let calls: Vec<Call> = pods.iter().map(|pod| Call::new(pod, conf.clone())).collect();
    let before = place.before(&pods[0]);
    let results: Vec<Value> = together(&calls, "ADD").iter().map(polynic_e2e::Answer::result).collect();
    assert_eq!(addresses(&results).len(), 50);
    let state = node.state();
    assert_eq!(state.starting("link vethX").len(), 50);
    let port = |line: &&&str| line.contains("master br5");
    assert_eq!(state.starting("link vethX").iter().filter(port).count(), 50);
    let bridges: BTreeSet<&str> =
        results.iter().map(|r| r["interfaces"][0]["mac"].as_str().unwrap()).collect();
    assert_eq!(
        bridges.into_iter().collect::<Vec<_>>(),
        [state.mac("br5")],
        "one bridge, one MAC, in all results"
    );
    let address = results[49]["ips"][0]["address"].as_str().unwrap().trim_end_matches("/24");
    assert!(reaches(&pods[0].netns, &pods[49].netns, address));
    assert!(reaches(&pods[25].netns, &node.wire().netns, "198.51.100.7"));
    // Half of them go while others come back.
    assert!(together(&calls[..25], "DEL").iter().all(|a| a.silent().is_empty()));
    let mut mixed: Vec<_> = calls[25..].iter().map(|call| call.start("DEL")).collect();
    mixed.extend(calls[..25].iter().map(|call| call.start("ADD")));
    assert!(mixed.into_iter().map(polynic_e2e::Running::answer).all(|a| a.code == 0));
    assert_eq!(node.state().starting("link vethX").len(), 25);
    assert!(reaches(&pods[0].netns, node.netns(), "10.5.0.1"));
    assert!(together(&calls[..25], "DEL").iter().all(|a| a.silent().is_empty()));
    assert!(node.state().has("addr br5 10.5.0.1/24 brd 10.5.0.255 scope global"), "the bridge survives");
    place.assert_nothing_left(&pods[0], &before, "after all");
    assert!(pods.iter().all(|pod| !records(&pod.id).exists() && pod.state().link_names().is_empty()));
}
