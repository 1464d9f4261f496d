//! The service between an API server and pods' namespaces.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polynic_kernel::testing::say_skipped;
use polynic_kernel::{Door, RealDoor};
use polynic_net::Place;
use polynic_policy::table;
use serde_json::{Value, json};

use crate::lan::{Connection, Lan, bound, until};
use crate::world::World;

fn has_table(lan: &Lan, number: usize) -> bool {
    let mut kernel = RealDoor::default().open(Some(&lan.pod(number).path)).unwrap();
    kernel.inventory(Place::Pod, &table()).unwrap().is_some()
}

fn allow(number: usize) -> Value {
    json!({"podSelector": {"matchLabels": {"number": "1"}}, "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"number": number.to_string()}}}]}]})
}

const DENY: &str = r#"{"podSelector": {}}"#;

#[test]
fn not_one_packet_passes_from_the_moment_the_link_is_there() {
    let Some(mut lan) = Lan::new(1) else { return };
    let world = World::new();
    let service = world.service();
    let number = lan.unplugged();
    world.pod(number);
    // The policy is younger than the pod and known to no watch by the time of the ADD: it is read afresh.
    world.policy("deny", &serde_json::from_str(DENY).unwrap());
    service.protect(&lan, number).unwrap();
    assert!(has_table(&lan, number), "before there is a link");
    // Somebody sends all the time while the link comes up, and a socket listens in the pod before it does.
    let target = format!("10.60.0.{number}:5000");
    let at = "0.0.0.0:5000".parse().unwrap();
    let server = lan.pod(number).netns.run(move || bound(at)).unwrap().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let pestering = lan.pester(1, &target, &stop);
    lan.plug(number);
    // The pod's own connection shows that the link works.
    assert!(lan.udp(number, 1, "10.60.0.1:5000"));
    stop.store(true, Ordering::Relaxed);
    assert!(pestering.join().unwrap() > 0);
    assert!(server.recv_from(&mut [0; 16]).is_err(), "a datagram got past the policy");
    // Nor does the kernel answer for the pod.
    drop(server);
    assert!(lan.tcp_fails(1, number, &format!("10.60.0.{number}:80")));
}

#[test]
fn edits_of_policies_labels_and_pods_take_effect() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::with_pods(3);
    let service = world.service();
    service.protect(&lan, 1).unwrap();
    assert!(!has_table(&lan, 1) && lan.udp(2, 1, "10.60.0.1:5000"));
    world.policy("p", &allow(2));
    until("the policy is in force", || has_table(&lan, 1));
    assert!(lan.udp(2, 1, "10.60.0.1:5000") && lan.udp(2, 1, "[fd60::1]:5000"));
    assert!(lan.udp_fails(3, 1, "10.60.0.1:5000"));
    world.change_policy("p", &allow(3));
    until("the other pod may", || lan.udp(3, 1, "10.60.0.1:5000"));
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000"));
    world.label(3, &json!({"number": "4"}));
    until("a label counts", || lan.udp_fails(3, 1, "10.60.0.1:5000"));
    world.label(1, &json!({"number": "9"}));
    until("the pod is no longer selected", || !has_table(&lan, 1));
    assert!(lan.udp(2, 1, "10.60.0.1:5000"));
    world.label(1, &json!({"number": "1"}));
    until("it is selected again", || has_table(&lan, 1));
    world.delete_policy("p");
    until("the policy is gone", || !has_table(&lan, 1));
}

/// As the retired iptables agent left them: whoever is not in its list is dropped.
const RETIRED: [&str; 11] = [
    "-N MULTI-INGRESS",
    "-N MULTI-INGRESS-COMMON",
    "-N MULTI-0-INGRESS",
    "-N MULTI-0-INGRESS-0-FROM",
    "-A INPUT -i net1 -j MULTI-INGRESS",
    "-A MULTI-INGRESS -j MULTI-INGRESS-COMMON",
    "-A MULTI-INGRESS -j MULTI-0-INGRESS",
    "-A MULTI-0-INGRESS -j MULTI-0-INGRESS-0-FROM",
    "-A MULTI-0-INGRESS-0-FROM -i net1 -s 10.60.0.3 -j MARK --set-xmark 0x20000/0x20000",
    "-A MULTI-0-INGRESS -m mark --mark 0x20000/0x20000 -j RETURN",
    "-A MULTI-INGRESS -j DROP",
];

/// Runs a command of iptables in a pod; nothing if there is no such program.
fn iptables(lan: &Lan, number: usize, line: &'static str) -> Option<String> {
    let run = move || Command::new("iptables-nft").args(line.split(' ')).output();
    let output = lan.pod(number).netns.run(run).unwrap().ok()?;
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn rules_of_the_retired_iptables_agent_decide_nothing_once_ours_are_in_force() {
    let Some(lan) = Lan::new(3) else { return };
    if RETIRED.iter().any(|line| iptables(&lan, 1, line).is_none()) {
        return say_skipped("there is no iptables-nft (Debian: iptables)");
    }
    iptables(&lan, 1, "-A INPUT -p tcp --dport 9 -j DROP");
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000"));
    let world = World::with_pods(3);
    let service = world.service();
    world.policy("p", &allow(2));
    until("the policy is known", || service.protect(&lan, 1).is_ok() && has_table(&lan, 1));
    until("ours alone decides", || lan.udp(2, 1, "10.60.0.1:5000"));
    assert!(lan.udp_fails(3, 1, "10.60.0.1:5000"));
    let left = iptables(&lan, 1, "-S").unwrap();
    let of_multi = |line: &&str| line.contains("MULTI-");
    assert_eq!(left.lines().filter(of_multi).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(left.contains("--dport 9"), "what is the pod's own stays: {left}");
}

#[test]
fn rules_outlive_the_agent_and_a_new_one_catches_up() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::new();
    for number in 1..=3 {
        world.pod(number);
        world.attached(number);
    }
    world.policy("p", &allow(2));
    let service = world.service();
    for number in 1..=3 {
        service.protect(&lan, number).unwrap();
    }
    until("peers are known", || lan.udp(2, 1, "10.60.0.1:5000"));
    drop(service);
    assert!(lan.udp(2, 1, "10.60.0.1:5000") && lan.udp_fails(3, 1, "10.60.0.1:5000"));
    world.change_policy("p", &allow(3));
    world.policy("all", &serde_json::from_str(DENY).unwrap());
    let service = world.service();
    until("what was missed is in force", || has_table(&lan, 2));
    until("what was missed is in force", || lan.udp_fails(2, 1, "10.60.0.1:5000"));
    assert!(lan.udp(3, 1, "10.60.0.1:5000") && has_table(&lan, 3));
    drop(service);
    world.delete_policy("p");
    world.delete_policy("all");
    let _service = world.service();
    until("stale tables are removed", || (1..=3).all(|number| !has_table(&lan, number)));
}

#[test]
fn what_cannot_be_rendered_is_told_and_opens_nothing() {
    let Some(lan) = Lan::new(2) else { return };
    let world = World::new();
    for number in 1..=2 {
        world.pod(number);
        world.attached(number);
    }
    let service = world.service();
    service.protect(&lan, 1).unwrap();
    let ports = json!([{"protocol": "UDP", "port": 6000, "endPort": 5000}]);
    world.policy("broken", &json!({"podSelector": {}, "ingress": [{"ports": ports}]}));
    until("the policy is in force", || has_table(&lan, 1));
    assert!(lan.udp_fails(2, 1, "10.60.0.1:5000") && lan.udp_fails(2, 1, "10.60.0.1:6000"));
    let expected = "ingress[0].ports[0]: endPort 5000 is below port 6000".to_owned();
    until("an Event says so", || {
        world.events().contains(&("PolicyRenderFailed".to_owned(), expected.clone()))
    });
}

#[test]
fn a_failed_add_leaves_no_table_and_a_pod_that_is_not_there_is_an_error() {
    let Some(lan) = Lan::new(1) else { return };
    let world = World::new();
    let service = world.service();
    let error = service.protect(&lan, 1).unwrap_err();
    assert!(error.to_string().contains("there is no pod shop/pod1"), "{error}");
    world.pod(1);
    world.policy("deny", &serde_json::from_str(DENY).unwrap());
    service.protect(&lan, 1).unwrap();
    assert!(has_table(&lan, 1));
    service.release(&lan, 1);
    assert!(!has_table(&lan, 1));
    world.attached(1);
    service.protect(&lan, 1).unwrap();
    service.release(&lan, 1);
    assert!(has_table(&lan, 1), "an attachment that is in the status keeps its rules");
}

#[test]
fn connections_that_a_changed_policy_forbids_are_cut_and_no_others() {
    let Some(lan) = Lan::new(3) else { return };
    let world = World::with_pods(3);
    let service = world.service();
    service.protect(&lan, 1).unwrap();
    let both = json!({"podSelector": {"matchLabels": {"number": "1"}}, "ingress": [{"from": [
        {"podSelector": {"matchLabels": {"number": "2"}}}, {"podSelector": {"matchLabels": {"number": "3"}}}]}]});
    world.policy("p", &both);
    until("the policy is in force", || has_table(&lan, 1) && lan.udp(2, 1, "10.60.0.1:5000"));
    until("both are peers", || lan.udp(3, 1, "[fd60::1]:5000"));
    let mut lost = ["10.60.0.1:7001", "[fd60::1]:7001"].map(|target| lan.connection(2, 1, target));
    let mut kept = ["10.60.0.1:7002", "[fd60::1]:7002"].map(|target| lan.connection(3, 1, target));
    // One that the pod itself began: the policy says nothing about it.
    let mut own = lan.connection(1, 2, "10.60.0.2:7003");
    assert!(lost.iter_mut().chain(&mut kept).chain([&mut own]).all(Connection::works));
    world.change_policy("p", &allow(3));
    for connection in &mut lost {
        until("the connection is cut", || !connection.works_soon());
        // What the pod goes on sending would begin it anew.
        assert!(!connection.is_heard());
    }
    assert!(kept.iter_mut().chain([&mut own]).all(Connection::works));
}

polynic_control_plane::on_a_real_server!(
    not_one_packet_passes_from_the_moment_the_link_is_there,
    edits_of_policies_labels_and_pods_take_effect,
    rules_of_the_retired_iptables_agent_decide_nothing_once_ours_are_in_force,
    rules_outlive_the_agent_and_a_new_one_catches_up,
    what_cannot_be_rendered_is_told_and_opens_nothing,
    a_failed_add_leaves_no_table_and_a_pod_that_is_not_there_is_an_error,
    connections_that_a_changed_policy_forbids_are_cut_and_no_others,
);
