//! Fixed addresses: pods of StatefulSets.

use polynic_wire::messages::BatchDelRequest;
use polynic_wire::{AddressService, ServiceError};
use serde_json::{Value, json};

use crate::world::{ENDPOINTS, PODS, World, soon};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";

fn set(world: &World, replicas: u32) -> String {
    set_from(world, 0, replicas)
}

fn set_from(world: &World, start: u32, replicas: u32) -> String {
    let template =
        json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": replicas, "ordinals": {"start": start}, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"}, "spec": spec});
    world.create(SETS, &set)["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn member(name: &str, set: &str, pools: &str) -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": set, "controller": true});
    let pools = json!({"ipv4": [pools]}).to_string();
    json!({"name": name, "ownerReferences": [owner], "annotations": {"ipam.spidernet.io/ippool": pools}})
}

#[test]
fn a_member_keeps_its_address_until_it_is_not_wanted() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"]}));
    world.pool("q", json!({"subnet": "10.8.0.0/16", "ips": ["10.8.0.7-10.8.0.9"]}));
    let agent = world.agent("n1");
    let owner = set(&world, 2);
    let first = world.pod_with(member("db-1", &owner, "p"), "n1");
    assert_eq!(agent.address("db-1", &first, "eth0"), "10.9.0.7/16");
    assert_eq!(world.get(ENDPOINTS, "db-1").unwrap()["metadata"].get("ownerReferences"), None);
    // Re-created on another node.
    world.delete(PODS, "db-1", 0);
    agent.del("db-1", &first).unwrap();
    assert_eq!(world.records("p").len(), 1);
    let second = world.pod_with(member("db-1", &owner, "p"), "n2");
    let other = world.agent("n2");
    assert_eq!(other.address("db-1", &second, "eth0"), "10.9.0.7/16");
    assert_eq!(world.records("p")["10.9.0.7"], ("default/db-1".to_owned(), second.clone()));
    let current = world.get(ENDPOINTS, "db-1").unwrap()["status"]["current"].clone();
    assert_eq!((&current["uid"], &current["node"]), (&json!(second), &json!("n2")));
    // Another pool.
    world.delete(PODS, "db-1", 0);
    other.del("db-1", &second).unwrap();
    let third = world.pod_with(member("db-1", &owner, "q"), "n1");
    assert_eq!(agent.address("db-1", &third, "eth0"), "10.8.0.7/16");
    assert_eq!(world.records("p").len(), 0);
    // Scaled down.
    world.patch(SETS, "db", &json!({"spec": {"replicas": 1}}));
    world.delete(PODS, "db-1", 30);
    agent.del("db-1", &third).unwrap();
    assert_eq!(world.records("q").len(), 0);
    assert_eq!(world.get(ENDPOINTS, "db-1"), None);
}

#[test]
fn the_first_member_may_have_another_number_than_none() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"]}));
    let agent = world.agent("n1");
    let owner = set_from(&world, 5, 2);
    for (name, kept) in [("db-5", true), ("db-6", true), ("db-4", false), ("db-7", false)] {
        let uid = world.pod_with(member(name, &owner, "p"), "n1");
        let address = agent.address(name, &uid, "eth0");
        world.delete(PODS, name, 30);
        agent.del(name, &uid).unwrap();
        assert_eq!(world.records("p").contains_key(address.trim_end_matches("/16")), kept, "{name}");
    }
    assert_eq!(world.records("p").len(), 2);
}

#[test]
fn a_fixed_address_is_not_given_up_for_a_conflict() {
    let world = World::new();
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.9"]}));
    let agent = world.agent("n1");
    let owner = set(&world, 2);
    let uid = world.pod_with(member("db-0", &owner, "p"), "n1");
    agent.address("db-0", &uid, "eth0");
    let request = BatchDelRequest {
        container_id: "c".into(),
        pod_namespace: "default".into(),
        pod_name: "db-0".into(),
        pod_uid: uid,
        is_release_conflict_ips: true,
        ..BatchDelRequest::default()
    };
    let error = agent.service.release_batch(&request, soon()).unwrap_err();
    assert!(matches!(error, ServiceError::Status { code: 522, .. }), "{error}");
    assert_eq!(world.records("p").len(), 1);
}

polynic_control_plane::on_a_real_server!(
    a_member_keeps_its_address_until_it_is_not_wanted,
    the_first_member_may_have_another_number_than_none,
    a_fixed_address_is_not_given_up_for_a_conflict,
);
