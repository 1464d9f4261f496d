//! Plugins, default networks and API servers that keep somebody waiting, and whom they do not keep waiting.

use std::thread;
use std::time::Duration;

use polynic_agent::cni::Config;
use polynic_cluster::Limits;
use polynic_cni::{Answer, Verb};
use serde_json::json;

use crate::api::until;
use crate::crowd::gated;
use crate::node::{Agent, Node, node};

/// Counted by the agent: it was not the shim that has deleted.
fn deleted(agent: &Agent, count: usize) -> bool {
    agent.counts(&format!(
        "polynic_cni_call_duration_seconds_count{{command=\"DEL\",outcome=\"success\"}} {count}"
    ))
}

fn open(node: &Node) {
    std::fs::write(node.path("open"), "").unwrap();
}

#[test]
fn a_del_does_not_wait_behind_pods_whose_default_network_is_not_ready() {
    let Some(node) = node() else { return };
    let ready = node.path("ready");
    std::fs::write(&ready, "").unwrap();
    let agent = node.agent_with(&json!({"workers": 1, "readinessindicatorfile": ready}));
    let (old, coming) = (node.pod("old", "a"), ["x", "y", "z"].map(|name| node.pod(name, "")));
    old.add();
    std::fs::remove_file(&ready).unwrap();
    thread::scope(|scope| {
        let added = coming.each_ref().map(|pod| scope.spawn(|| pod.call(Verb::Add)));
        until("one is served and the others wait", || {
            agent.counts("polynic_cni_in_flight 3") && agent.endpoint.waiting() == 2
        });
        assert_eq!(old.call(Verb::Check), Answer::default());
        old.del();
        assert!(deleted(&agent, 1) && agent.counts("polynic_cni_in_flight 3"));
        std::fs::write(&ready, "").unwrap();
        for added in added {
            let answer = added.join().unwrap();
            assert_eq!(answer.code, 0, "{}", answer.stdout);
        }
    });
    coming.iter().for_each(|pod| pod.del());
    assert_eq!((node.host_links(), node.leftovers().len()), (0, 0), "{:?}", node.leftovers());
}

#[test]
fn a_network_whose_plugin_hangs_stops_its_own_pod_and_neither_others_nor_the_end() {
    let Some(node) = node() else { return };
    gated(&node);
    let agent = node.agent();
    let (stuck, calm) = (node.pod("stuck", ""), node.pod("calm", ""));
    stuck.add();
    calm.add();
    node.edit("stuck", "gate");
    until("the plugin hangs", || node.path("came").exists());
    node.edit("calm", "a");
    until("the other pod's edit is followed", || calm.status() == ["fabric eth0", "default/a net1"]);
    let ended = thread::spawn(move || drop(agent));
    until("the agent ends", || ended.is_finished());
    open(&node);
    let _agent = node.agent();
    stuck.del();
    calm.del();
    until("nothing is left", || node.leftovers().is_empty() && node.host_links() == 0);
}

#[test]
fn a_del_does_not_wait_for_a_status_that_cannot_be_written() {
    let Some(node) = node() else { return };
    gated(&node);
    // As if for ever.
    let patience = Limits { attempt: Duration::from_secs(3600), total: Duration::from_secs(3600) };
    let config = Config { patience, ..node.config(&json!({})) };
    let agent = Agent::start(config, node.world.kubeconfig());
    let pod = node.pod("vm", "");
    pod.add();
    node.edit("vm", "gate,a");
    until("it is being followed", || node.path("came").exists());
    node.world.server.stop();
    open(&node);
    until("only the status is missing", || pod.names() == ["eth0", "net2"]);
    pod.del();
    assert!(deleted(&agent, 1), "{}", agent.endpoint.metrics().page().text());
    assert_eq!((pod.names().len(), node.leftovers()), (0, Vec::new()));
    node.world.server.restart();
}

polynic_control_plane::on_a_real_server!(
    a_del_does_not_wait_behind_pods_whose_default_network_is_not_ready,
    a_network_whose_plugin_hangs_stops_its_own_pod_and_neither_others_nor_the_end,
);
