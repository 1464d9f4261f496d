//! The API server, or the agent, is away for a while.

use std::thread;

use polynic_wire::{AddressService, ReleaseJournal};
use serde_json::json;

use crate::world::{PODS, World, add_request, del_request, soon, until};

fn pools(world: &World) {
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.7-10.9.0.90"], "default": true}));
}

#[test]
fn an_allocation_waits_for_the_api_server() {
    let world = World::new();
    pools(&world);
    let agent = world.agent("n1");
    let uid = world.pod("web", "n1", json!({}));
    world.server.stop();
    let service = agent.service.clone();
    let (started, has_started) = std::sync::mpsc::channel();
    let asked = thread::spawn(move || {
        started.send(()).unwrap();
        service.allocate(&add_request("web", &uid, "eth0"), soon())
    });
    has_started.recv().unwrap();
    world.server.restart();
    assert_eq!(asked.join().unwrap().unwrap().ips[0].address, "10.9.0.7/16");
    assert_eq!(world.records("p").len(), 1);
}

#[test]
fn a_release_waits_on_disk_for_the_api_server() {
    let world = World::new();
    pools(&world);
    let agent = world.agent("n1");
    let uid = world.pod("web", "n1", json!({}));
    agent.address("web", &uid, "eth0");
    world.delete(PODS, "web", 30);
    world.server.stop();
    agent.del("web", &uid).unwrap();
    let journal = ReleaseJournal::new(world.config("n1").releases);
    assert_eq!(journal.pending().unwrap().len(), 1);
    world.server.restart();
    until("the release is replayed", || journal.pending().unwrap().is_empty());
    assert_eq!(world.records("p").len(), 0);
}

#[test]
fn what_a_plugin_wrote_down_is_made_when_the_agent_comes() {
    let world = World::new();
    pools(&world);
    let agent = world.agent("n1");
    let [gone, alive] = ["gone", "alive"].map(|name| world.pod(name, "n1", json!({})));
    agent.address("gone", &gone, "eth0");
    agent.address("alive", &alive, "eth0");
    agent.stop();
    world.delete(PODS, "gone", 30);
    let journal = ReleaseJournal::new(world.config("n1").releases);
    journal.record(&del_request("gone", &gone)).unwrap();
    journal.record(&del_request("alive", &alive)).unwrap();
    let _agent = world.agent("n1");
    until("the releases are replayed", || journal.pending().unwrap().is_empty());
    let left: Vec<String> = world.records("p").into_values().map(|(pod, _)| pod).collect();
    assert_eq!(left, ["default/alive"], "a pod that is alive keeps its address");
}
