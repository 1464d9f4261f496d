//! An API server that is away, slow, or of another opinion than the runtime.

use std::time::Duration;

use polynic_attach::shim::Patience;
use polynic_cni::{Answer, Error, Verb};
use serde_json::Value;

use crate::api::{PODS, until};
use crate::node::{PATIENCE, node};

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
