//! The lab's scheduler: pods without a node get the next one that fits their node selector, in turn.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::backoff::Backoff;

/// Binds pods for as long as the lab lives.
pub async fn run(client: Client) {
    let unbound = watcher::Config::default().fields("spec.nodeName=");
    let pods = watcher::watcher(Api::<Pod>::all(client.clone()), unbound);
    let mut pods =
        std::pin::pin!(pods.applied_objects().map_err(|why| tracing::warn!(%why, "watching pods")));
    let mut turn = Turn::default();
    let mut backoff = Backoff::of_requests();
    while let Some(pod) = pods.next().await {
        match pod {
            Ok(pod) => {
                backoff.reset();
                place(&client, &pod, &mut turn).await;
            }
            Err(()) => tokio::time::sleep(backoff.wait()).await,
        }
    }
}

async fn place(client: &Client, pod: &Pod, turn: &mut Turn) {
    let unbound =
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty());
    if !unbound || pod.metadata.deletion_timestamp.is_some() {
        return;
    }
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(why) => return tracing::warn!(%why, "cannot list nodes"),
    };
    match turn.choose(pod, &nodes) {
        Some(node) => bind(client, pod, &node).await,
        None => tracing::warn!(pod = %pod.name_any(), "no node fits the pod's node selector"),
    }
}

async fn bind(client: &Client, pod: &Pod, node: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name_any()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let bound: Result<serde_json::Value, _> =
        pods.create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await;
    // A conflict means that it is bound or gone: both will be seen in the watch.
    if let Err(why) = bound {
        tracing::info!(pod = %pod.name_any(), %why, "not bound");
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turn {
    next: usize,
}

impl Turn {
    fn choose(&mut self, pod: &Pod, nodes: &[Node]) -> Option<String> {
        let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.clone()).unwrap_or_default();
        let mut names: Vec<String> = nodes
            .iter()
            .filter(|node| is_open(node) && fits(&selector, node))
            .map(ResourceExt::name_any)
            .collect();
        names.sort();
        let name = names.get(self.next.checked_rem(names.len())?)?.clone();
        self.next = self.next.wrapping_add(1);
        Some(name)
    }
}

/// Not cordoned.
fn is_open(node: &Node) -> bool {
    !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn fits(selector: &BTreeMap<String, String>, node: &Node) -> bool {
    selector.iter().all(|(key, value)| node.labels().get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        let labels = json!({"kubernetes.io/hostname": name});
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn pod(selector: serde_json::Value) -> Pod {
        let spec = json!({"containers": [], "nodeSelector": selector});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn nodes_take_turns() {
        let (mut turn, nodes) = (Turn::default(), [node("node2"), node("node1")]);
        let chosen: Vec<_> = (0..3).map(|_| turn.choose(&pod(json!({})), &nodes).unwrap()).collect();
        assert_eq!(chosen, ["node1", "node2", "node1"]);
    }

    #[test]
    fn a_cordoned_node_gets_none() {
        let mut nodes = [node("node1"), node("node2")];
        nodes[0].spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
        let mut turn = Turn::default();
        let chosen: Vec<_> = (0..2).map(|_| turn.choose(&pod(json!({})), &nodes).unwrap()).collect();
        assert_eq!(chosen, ["node2", "node2"]);
    }

    #[test]
    fn a_node_selector_is_obeyed() {
        let (mut turn, nodes) = (Turn::default(), [node("node1"), node("node2")]);
        let picky = pod(json!({"kubernetes.io/hostname": "node2"}));
        assert_eq!(turn.choose(&picky, &nodes).as_deref(), Some("node2"));
        assert_eq!(turn.choose(&pod(json!({"disk": "ssd"})), &nodes), None);
        assert_eq!(turn.choose(&picky, &[]), None);
    }
}
