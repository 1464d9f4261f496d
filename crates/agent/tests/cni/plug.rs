//! Networks of running pods follow their annotation.

use serde_json::json;

use crate::api::{PODS, until};
use crate::node::{NETWORKS, node};

#[test]
fn networks_of_a_running_pod_follow_its_annotation() {
    let Some(node) = node() else { return };
    let agent = node.agent();
    let pod = node.pod("vm", "a");
    pod.add();
    node.edit("vm", "a,b@hot0");
    until("the interface is there", || pod.status() == ["fabric eth0", "default/a net1", "default/b hot0"]);
    assert_eq!(pod.names(), ["eth0", "hot0", "net1"]);
    node.edit("vm", "b@hot0");
    until("the interface is gone", || pod.status() == ["fabric eth0", "default/b hot0"]);
    assert_eq!(pod.names(), ["eth0", "hot0"]);
    until("the Events are there", || {
        node.events("vm").iter().any(|(reason, _)| reason == "RemovedInterface")
    });
    // Edits that are made while no agent is there are followed when it comes.
    drop(agent);
    node.edit("vm", "c,b@hot0");
    let _agent = node.agent();
    until("the new agent follows", || pod.status() == ["fabric eth0", "default/c net1", "default/b hot0"]);
    node.edit("vm", "");
    until("all are gone", || pod.status() == ["fabric eth0"]);
    node.edit("vm", "a");
    until("one is back", || pod.status() == ["fabric eth0", "default/a net1"]);
    pod.del();
    assert_eq!((pod.names().len(), node.host_links()), (0, 0));
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn a_pod_on_the_nodes_own_network_is_told_that_it_gets_none() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let spec = json!({"nodeName": "n1", "hostNetwork": true, "containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": "host", "annotations": {NETWORKS: "a"}});
    node.world.create(PODS, &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    // One that only waits for its sandbox is not.
    let late = node.pod("late", "a");
    until("it is told", || !node.events("host").is_empty());
    let (reason, text) = node.events("host").remove(0);
    assert_eq!(reason, "InterfaceAddRejected");
    assert!(text.contains("default/host") && text.contains("the node's own network"), "{text}");
    late.add();
    assert!(node.events("late").iter().all(|(reason, _)| reason == "AddedInterface"));
    late.del();
}

#[test]
fn a_network_that_cannot_be_attached_is_told_and_tried_again() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let pod = node.pod("vm", "");
    pod.add();
    node.edit("vm", "a,late");
    until("the failure is told", || {
        node.events("vm").iter().any(|(reason, _)| reason == "FailedAddingInterface")
    });
    until("the other one is there", || pod.status() == ["fabric eth0", "default/a net1"]);
    let nad = node.nad_with("late", &serde_json::json!({"type": "bridge", "bridge": "late0"}));
    node.world.create(crate::node::NADS, &nad);
    until("it is there after all", || pod.names() == ["eth0", "net1", "net2"]);
    pod.del();
}

polynic_control_plane::on_a_real_server!(
    networks_of_a_running_pod_follow_its_annotation,
    a_pod_on_the_nodes_own_network_is_told_that_it_gets_none,
    a_network_that_cannot_be_attached_is_told_and_tried_again,
);
