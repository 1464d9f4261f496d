//! An API server that is away, slow, or of another opinion than the runtime.

use std::time::Duration;

use polynic_agent::cni::Config;
use polynic_attach::shim::Patience;
use polynic_cluster::Limits;
use polynic_cni::{Answer, Error, Verb};
use serde_json::{Value, json};

use crate::api::{PODS, until};
use crate::node::{Agent, NETWORKS, Node, PATIENCE, node};
use crate::proxy::{Mode, Proxy};

/// An agent that reaches the API server through a proxy, and waits for it so long.
fn agent_behind(proxy: &Proxy, node: &Node, total: Duration) -> Agent {
    let patience = Limits { attempt: Duration::from_secs(60), total };
    let config = Config { patience, ..node.config(&json!({})) };
    Agent::start(config, proxy.kubeconfig.clone())
}

const LONG: Duration = Duration::from_secs(60);

fn failed(answer: &Answer) -> Error {
    assert_ne!(answer.code, 0, "{}", answer.stdout);
    Error::from_json(answer.stdout.as_bytes()).unwrap()
}

#[test]
fn an_add_waits_for_the_api_server_and_a_del_does_not() {
    let Some(node) = node() else { return };
    let agent = node.agent();
    let (pod, other) = (node.pod("web", "a"), node.pod("other", "b"));
    other.add();
    until("the agent knows the pod", || agent.endpoint.knows_pod("default", "web"));
    node.world.server.stop();
    other.del();
    assert_eq!(other.names().len(), 0);
    let patience = Patience { total: Duration::from_millis(300), ..PATIENCE };
    let answer = pod.call_with(Verb::Add, &node.conf(), patience);
    let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
    assert_eq!(error.code, 11, "the runtime is told before its own patience ends: {error}");
    node.world.server.restart();
    let result = pod.add();
    assert_eq!(result["interfaces"][2]["sandbox"], pod.path(), "{result}");
    assert_eq!(pod.status(), ["fabric eth0", "default/a net1"]);
    pod.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn a_new_agent_serves_dels_while_the_api_server_is_away() {
    let Some(node) = node() else { return };
    let agent = node.agent();
    let pod = node.pod("web", "a");
    pod.add();
    drop(agent);
    node.world.server.stop();
    // It waits for the API server before it listens, and the shim does not wait for it.
    pod.del();
    assert_eq!((pod.names().len(), node.leftovers().len()), (0, 0));
    node.world.server.restart();
}

#[test]
fn a_pod_that_is_gone_gets_an_empty_result_and_one_of_another_uid_an_error() {
    let Some(node) = node() else { return };
    let _agent = node.agent();
    let gone = node.sandbox("gone", "u0");
    let answer = gone.call(Verb::Add);
    let result: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((answer.code, &result["ips"][0]["address"]), (0, &serde_json::json!("0.0.0.0/0")));
    assert_eq!((gone.names().len(), gone.call(Verb::Del)), (0, Answer::default()));
    node.world.pod("web", "n1", serde_json::json!({}));
    let other = node.sandbox("web", "another-uid");
    let error = Error::from_json(other.call(Verb::Add).stdout.as_bytes()).unwrap();
    assert!(error.msg.contains("expected pod UID \"another-uid\" but got"), "{error}");
    assert_eq!((other.names().len(), other.call(Verb::Del)), (0, Answer::default()));
    assert!(node.world.get(PODS, "web").is_some());
}

#[test]
fn a_slow_api_server_delays_an_add_and_not_a_del() {
    let Some(node) = node() else { return };
    let proxy = Proxy::of(&node);
    let _agent = agent_behind(&proxy, &node, LONG);
    // What the agent knows of pods is old: it has to ask.
    proxy.deafen(true);
    for (name, pause) in [("brisk", 300), ("slow", 2000)] {
        let pod = node.pod(name, "a");
        proxy.set(Mode::Slow(Duration::from_millis(pause)));
        pod.add();
        assert_eq!(pod.status(), ["fabric eth0", "default/a net1"]);
        let asked = proxy.about_pods();
        assert_eq!(pod.call(Verb::Check), Answer::default());
        pod.del();
        assert_eq!(proxy.about_pods(), asked, "nobody is asked for a CHECK or a DEL");
        assert_eq!((pod.names().len(), node.leftovers()), (0, Vec::new()));
    }
}

#[test]
fn an_add_waits_out_a_server_in_trouble() {
    let Some(node) = node() else { return };
    let proxy = Proxy::of(&node);
    let agent = agent_behind(&proxy, &node, LONG);
    let pod = node.pod("web", "a");
    until("the agent knows the pod", || agent.endpoint.knows_pod("default", "web"));
    proxy.set(Mode::Fails(503));
    std::thread::scope(|scope| {
        let added = scope.spawn(|| pod.add());
        until("it was tried twice", || proxy.about_pods().len() > 1);
        proxy.set(Mode::Fine);
        added.join().unwrap();
    });
    assert_eq!(pod.status(), ["fabric eth0", "default/a net1"]);
    proxy.set(Mode::Fails(503));
    pod.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn a_server_that_stays_in_trouble_or_refuses_us_fails_an_add_whole() {
    let Some(node) = node() else { return };
    let proxy = Proxy::of(&node);
    let agent = agent_behind(&proxy, &node, Duration::from_millis(500));
    let pod = node.pod("web", "a");
    until("the agent knows the pod", || agent.endpoint.knows_pod("default", "web"));
    for code in [503, 401, 403] {
        proxy.set(Mode::Fails(code));
        let error = failed(&pod.call(Verb::Add));
        for part in ["default/web", "error setting the networks status", &format!("the proxy says {code}")] {
            assert!(error.msg.contains(part), "{code}: {part}: {error}");
        }
        assert_eq!((pod.names().len(), node.host_links()), (0, 0), "{code}");
        assert_eq!(node.leftovers(), [""; 0], "{code}");
        assert_eq!(pod.call(Verb::Del), Answer::default());
    }
    assert_eq!(pod.status(), [""; 0]);
    // A pod that has to be asked for fails before anything is attached.
    proxy.deafen(true);
    let unknown = node.pod("unknown", "a");
    let error = failed(&unknown.call(Verb::Add));
    assert!(error.msg.contains("default/unknown") && error.msg.contains("the proxy says 403"), "{error}");
    assert_eq!(unknown.names().len(), 0);
    proxy.deafen(false);
    proxy.set(Mode::Fine);
    pod.add();
    unknown.add();
    pod.del();
    unknown.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn a_static_pod_is_known_by_another_uid() {
    let Some(node) = node() else { return };
    let proxy = Proxy::of(&node);
    let _agent = agent_behind(&proxy, &node, LONG);
    for deaf in [false, true] {
        proxy.deafen(deaf);
        let name = format!("mirror-{deaf}");
        node.world.pod(&name, "n1", json!({NETWORKS: "a", "kubernetes.io/config.source": "file"}));
        // kubelet names the pod's file to the runtime, and has made the mirror after it.
        let pod = node.sandbox(&name, "hash-of-the-file");
        pod.add();
        assert_eq!(pod.status(), ["fabric eth0", "default/a net1"]);
        until("the Events are the mirror's", || node.events(&name).len() == 2);
        pod.del();
    }
    assert_eq!(node.leftovers(), [""; 0]);
}

#[test]
fn a_pod_that_came_back_under_its_name_is_not_taken_for_the_old_one() {
    let Some(node) = node() else { return };
    let proxy = Proxy::of(&node);
    let _agent = agent_behind(&proxy, &node, LONG);
    let old = node.pod("web", "a");
    old.add();
    proxy.deafen(true);
    node.world.delete(PODS, "web", 0);
    let new = node.pod("web", "b");
    assert_ne!(old.uid, new.uid);
    new.add();
    assert_eq!(new.status(), ["fabric eth0", "default/b net1"]);
    old.del();
    assert_eq!((old.names().len(), new.names()), (0, vec!["eth0".to_owned(), "net1".to_owned()]));
    // Another pod's ADD has running pods looked at: they are not made what the old annotation says.
    let other = node.pod("other", "");
    other.add();
    proxy.deafen(false);
    node.edit("web", "b,c");
    until("the new pod's annotation is followed", || {
        new.status() == ["fabric eth0", "default/b net1", "default/c net2"]
    });
    let removed = |(reason, _): &(String, String)| reason == "RemovedInterface";
    assert!(!node.events("web").iter().any(removed), "{:?}", node.events("web"));
    new.del();
    other.del();
    assert_eq!(node.leftovers(), [""; 0]);
}

polynic_control_plane::on_a_real_server!(
    a_pod_that_is_gone_gets_an_empty_result_and_one_of_another_uid_an_error,
    a_slow_api_server_delays_an_add_and_not_a_del,
    an_add_waits_out_a_server_in_trouble,
    a_server_that_stays_in_trouble_or_refuses_us_fails_an_add_whole,
    a_static_pod_is_known_by_another_uid,
    a_pod_that_came_back_under_its_name_is_not_taken_for_the_old_one,
);
