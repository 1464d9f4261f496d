//! Networks of running pods follow their annotation.

use polynic_agent::cni::Config;
use polynic_install::generate::Settings;
use serde_json::json;

use crate::api::{PODS, until};
use crate::node::{Agent, NETWORKS, Node, node};

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

/// A node with an attached pod, as if the agent that attached it had been another program: nothing is known of the shim.
fn taken_over(node: &Node) -> crate::node::Pod<'_> {
    let agent = node.agent();
    let pod = node.pod("vm", "a");
    pod.add();
    drop(agent);
    std::fs::remove_file(node.path("state/multus-shim.conf")).unwrap();
    pod
}

#[test]
fn pods_of_an_agent_before_are_followed_by_the_file_that_runtimes_read() {
    let Some(node) = node() else { return };
    let pod = taken_over(&node);
    std::fs::write(node.path("net.d/00-multus.conf"), node.conf().to_string()).unwrap();
    let daemon = json!({"cniVersion": "1.0.0", "cniConfigDir": node.path("net.d")}).to_string();
    let generator = Some(Settings::read(daemon.as_bytes()).unwrap());
    let config = Config { generator, ..node.config(&json!({})) };
    let _agent = Agent::start(config, node.world.kubeconfig());
    node.edit("vm", "a,b");
    until("no shim has to call", || pod.status() == ["fabric eth0", "default/a net1", "default/b net2"]);
    pod.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn pods_of_an_agent_before_are_followed_from_the_first_call_of_a_shim() {
    let Some(node) = node() else { return };
    let pod = taken_over(&node);
    let _agent = node.agent();
    node.edit("vm", "a,b");
    let other = node.pod("other", "");
    other.add();
    until("it is heard of", || pod.status() == ["fabric eth0", "default/a net1", "default/b net2"]);
    pod.del();
    other.del();
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
    pods_of_an_agent_before_are_followed_by_the_file_that_runtimes_read,
    pods_of_an_agent_before_are_followed_from_the_first_call_of_a_shim,
);
