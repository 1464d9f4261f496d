//! Many pods, many agents, one pool.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::world::{ENDPOINTS, PODS, Plugin, World, until};

/// Gives each pod an address at the same time.
fn all(plugin: &Plugin, pods: &[(String, String)]) -> Vec<String> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            pods.iter().map(|(name, uid)| scope.spawn(move || plugin.address(name, uid, "eth0"))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

fn pods(world: &World, node: &str, count: usize) -> Vec<(String, String)> {
    let name = |n: usize| format!("{node}-{n}");
    (0..count).map(|n| (name(n), world.pod(&name(n), node, json!({})))).collect()
}

#[test]
fn a_pool_is_used_to_its_last_address_and_not_beyond() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.1-10.9.0.20"], "default": true}));
    let (one, two) = (world.agent("n1"), world.agent("n2"));
    let (first, second) = (pods(&world, "n1", 10), pods(&world, "n2", 10));
    let given: BTreeSet<String> = thread::scope(|scope| {
        let other = scope.spawn(|| all(&two, &second));
        all(&one, &first).into_iter().chain(other.join().unwrap()).collect()
    });
    assert_eq!(given.len(), 20);
    let uid = world.pod("late", "n1", json!({}));
    let error = one.add("late", &uid, "eth0").unwrap_err().to_string();
    assert!(error.contains("all IP addresses used out"), "{error}");
    world.delete(PODS, &second[0].0, 30);
    two.del(&second[0].0, &second[0].1).unwrap();
    assert!(given.contains(&one.address("late", &uid, "eth0")));
}

#[test]
fn a_pool_that_is_edited_under_load_hands_out_what_it_has() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.1-10.9.0.200"], "default": true}));
    let agent = world.agent("n1");
    let pods = pods(&world, "n1", 60);
    let (early, late) = pods.split_at(30);
    let given = thread::scope(|scope| {
        let early = scope.spawn(|| all(&agent, early));
        for n in 0..20 {
            let edit =
                json!({"spec": {"gateway": format!("10.9.1.{n}"), "excludeIPs": ["10.9.0.100-10.9.0.200"]}});
            world.patch(crate::world::POOLS, "p", &edit);
        }
        early.join().unwrap()
    });
    world.patch(
        crate::world::POOLS,
        "p",
        &json!({"spec": {"ips": ["10.9.0.1-10.9.0.31", "10.9.0.150-10.9.0.250"]}}),
    );
    let given: BTreeSet<String> = given.into_iter().chain(all(&agent, late)).collect();
    assert_eq!(given.len(), 60, "no address twice");
    let records = world.records("p");
    assert_eq!(records.len(), 60);
    let excluded =
        |ip: &String| ip.rsplit('.').next().unwrap().parse::<u8>().is_ok_and(|n| (100..=200).contains(&n));
    assert!(!records.keys().any(excluded), "{records:?}");
}

#[test]
fn five_hundred_pods_come_and_go_on_four_nodes_in_any_order() {
    const EACH: usize = 125;
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.1-10.9.2.255"], "default": true}));
    let nodes = ["n1", "n2", "n3", "n4"];
    let agents = nodes.map(|node| world.agent(node));
    let pods = nodes.map(|node| pods(&world, node, EACH));
    for (node, pods) in pods.iter().enumerate() {
        // Half of them are deleted before they are attached, some twice: whatever the order, the end is the same.
        for (n, (name, _)) in pods.iter().enumerate().filter(|(n, _)| (n * 7 + node) % 5 == 0) {
            world.delete(PODS, name, if n % 2 == 0 { 30 } else { 0 });
        }
    }
    thread::scope(|scope| {
        for (agent, pods) in agents.iter().zip(&pods) {
            for chunk in pods.chunks(25) {
                scope.spawn(move || churn(agent, chunk));
            }
        }
    });
    let records = world.records("p");
    let alive: BTreeSet<String> = world
        .list(PODS)
        .iter()
        .filter(|pod| pod["metadata"].get("deletionTimestamp").is_none())
        .map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
        .collect();
    let holders: BTreeSet<String> = records.values().map(|(_, uid)| uid.clone()).collect();
    assert_eq!(holders.len(), records.len(), "one address for each");
    assert_eq!(holders, alive);
    for (agent, pods) in agents.iter().zip(&pods) {
        for (name, uid) in pods.iter().filter(|(_, uid)| alive.contains(uid)) {
            world.delete(PODS, name, 30);
            agent.del(name, uid).unwrap();
        }
    }
    assert_eq!(world.records("p").len(), 0);
    until("the endpoints are let go of", || {
        world.list(ENDPOINTS).iter().all(|endpoint| endpoint["metadata"].get("finalizers").is_none())
    });
}

/// Attaches, attaches again and detaches, as a runtime does that is told so in no particular order.
fn churn(plugin: &Plugin, pods: &[(String, String)]) {
    for (n, (name, uid)) in pods.iter().enumerate() {
        let first = plugin.add(name, uid, "eth0").ok();
        if n % 3 == 0 {
            plugin.del(name, uid).unwrap();
        }
        let second = plugin.add(name, uid, "eth0").ok();
        assert_eq!(first.map(|r| r.ips), second.map(|r| r.ips), "{name}");
    }
}

polynic_control_plane::on_a_real_server!(
    a_pool_is_used_to_its_last_address_and_not_beyond,
    a_pool_that_is_edited_under_load_hands_out_what_it_has,
    five_hundred_pods_come_and_go_on_four_nodes_in_any_order,
);
