//! Many processes at once on one node.

use std::collections::BTreeSet;

use polynic_e2e::{Answer, Call, Node, Pod, reaches, reference_plugins};
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

#[test]
fn ours_and_the_reference_at_once_share_a_small_range() {
    let Some(reference) = reference_plugins() else { return };
    let Some(node) = Node::new() else { return };
    let pods: Vec<Pod> = (0..20).map(|_| Pod::new()).collect();
    let conf = conf("host-local", json!({"ipam": host_local(&node, &["192.168.1.0/27"])}));
    let by_turns = |(number, pod): (usize, &Pod)| match number % 2 {
        0 => Call::new(pod, conf.clone()),
        _ => Call::new(pod, conf.clone()).from_directory(reference),
    };
    let calls: Vec<Call> = pods.iter().enumerate().map(by_turns).collect();
    for _ in 0..3 {
        let results: Vec<Value> = together(&calls, "ADD").iter().map(Answer::result).collect();
        assert_eq!(addresses(&results).len(), 20);
        assert_eq!(node.addresses_held("net").len(), 20);
        assert!(together(&calls, "DEL").iter().all(|a| a.silent().is_empty()));
        assert_eq!(node.addresses_held("net"), [""; 0]);
    }
}

/// The chain of one pod: every plugin is given the result of the one before it.
fn chain(node: &Node, pod: &Pod, port: usize) -> Vec<Call> {
    let ipam = host_local(node, &["10.5.0.0/24"]);
    let bridge = json!({"bridge": "br5", "isGateway": true, "ipMasq": true, "ipam": ipam});
    let rates = json!({"ingressRate": 1_000_000, "ingressBurst": 80_000, "egressRate": 1_000_000, "egressBurst": 80_000});
    let mapping = json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
    let all = [
        ("bridge", bridge),
        ("tuning", json!({"mtu": 1400})),
        ("bandwidth", rates),
        ("firewall", json!({"backend": "iptables"})),
        ("portmap", json!({"runtimeConfig": {"portMappings": mapping}})),
    ];
    all.into_iter().map(|(plugin, keys)| Call::new(pod, conf(plugin, keys))).collect()
}

fn attach(chain: &mut [Call]) {
    let mut prev = None;
    for call in chain {
        if let Some(prev) = prev.take() {
            *call = call.clone().key("prevResult", prev);
        }
        prev = Some(call.add());
    }
}

#[test]
fn whole_chains_at_once_leave_nothing() {
    let Some(node) = Node::new() else { return };
    let shared = ["br5", "ip_forward", "cni_plugins_masquerade", "cni_hostport", "table ip filter"];
    let place = Place { node: &node, shared: &shared };
    let pods: Vec<Pod> = (0..24).map(|_| Pod::new()).collect();
    let before = place.before(&pods[0]);
    std::thread::scope(|scope| {
        for (lane, pods) in pods.chunks(4).enumerate() {
            let node = &node;
            // A new thread is in the namespace of the one that made it.
            scope.spawn(move || {
                let mut chains: Vec<Vec<Call>> =
                    pods.iter().enumerate().map(|(n, pod)| chain(node, pod, 9000 + 10 * lane + n)).collect();
                for _ in 0..2 {
                    chains.iter_mut().for_each(|chain| attach(chain));
                    chains.iter().flat_map(|chain| chain.iter().rev()).for_each(Call::del);
                }
            });
        }
    });
    pods.iter().for_each(|pod| place.assert_nothing_left(pod, &before, "after all"));
    assert!(pods.iter().all(|pod| !records(&pod.id).exists() && pod.state().link_names().is_empty()));
    let state = node.state();
    let rules = |line: &&String| line.contains("10.5.0.") && line.starts_with("nft ");
    assert_eq!(state.lines().iter().filter(rules).count(), 0, "{state:?}");
}
