//! flannel's part of the cluster: every node as a plain value, and what this node says of itself (spec/flannel.md 5).
//!
//! What a watch says is a hint that something changed; whoever acts looks at [`Nodes::all`].

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use polynic_flannel::Node;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The names of requests' author, as the API server keeps them.
const AUTHOR: &str = "flanneld";

/// All nodes of the cluster, kept up to date by a watch.
#[derive(Default)]
pub struct Nodes {
    nodes: RwLock<BTreeMap<String, Arc<Node>>>,
    /// Counts changes that matter; 0 until all nodes have been seen once.
    version: watch::Sender<u64>,
}

impl Nodes {
    /// Follows the cluster's nodes until `ended` is.
    pub async fn follow(&self, client: Client, ended: impl Future<Output = ()>) {
        tokio::select! {
            () = ended => {}
            () = self.follow_forever(client) => {}
        }
    }

    async fn follow_forever(&self, client: Client) {
        let mut events = std::pin::pin!(watcher(Api::<NodeObject>::all(client), watcher::Config::default()));
        let (mut listed, mut pause) = (BTreeMap::new(), FIRST_PAUSE);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    pause = FIRST_PAUSE;
                    self.take(event, &mut listed);
                }
                Err(why) => {
                    tracing::warn!(error = %why, "the watch of nodes broke and is started again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take(&self, event: Event<NodeObject>, listed: &mut BTreeMap<String, Arc<Node>>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let node = plain(object);
                listed.insert(node.name.clone(), Arc::new(node));
            }
            // What is not listed is gone, also what went while nobody watched.
            Event::InitDone => {
                let all = std::mem::take(listed);
                self.change(|nodes| std::mem::replace(nodes, all.clone()) != all);
                self.version.send_if_modified(|version| std::mem::replace(version, (*version).max(1)) == 0);
            }
            Event::Apply(object) => {
                let node = Arc::new(plain(object));
                self.change(|nodes| nodes.insert(node.name.clone(), node.clone()).as_ref() != Some(&node));
            }
            Event::Delete(object) => {
                let node = plain(object);
                self.change(|nodes| nodes.remove(&node.name).is_some());
            }
        }
    }

    /// Changes the nodes, and says so if it is worth a word: kubelets write their nodes all the time.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Node>>) -> bool) {
        if change(&mut self.nodes.write().unwrap_or_else(PoisonError::into_inner)) && self.is_synced() {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Whether all nodes have been seen once.
    pub fn is_synced(&self) -> bool {
        *self.version.borrow() > 0
    }

    /// Hears of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// One node.
    pub fn get(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All nodes, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

fn plain(object: NodeObject) -> Node {
    let spec = object.spec.unwrap_or_default();
    let several = spec.pod_cidrs.unwrap_or_default();
    let pod_cidrs = if several.is_empty() { spec.pod_cidr.into_iter().collect() } else { several };
    Node {
        name: object.metadata.name.unwrap_or_default(),
        pod_cidrs,
        annotations: object.metadata.annotations.unwrap_or_default(),
    }
}

/// Writes annotations of a node, through its status, which is what flannel's role may write.
///
/// # Errors
/// The API server refuses, or is away.
pub async fn annotate(
    client: &Client,
    node: &str,
    annotations: &BTreeMap<String, String>,
) -> Result<(), kube::Error> {
    patch_status(client, node, &json!({"metadata": {"annotations": annotations}})).await
}

/// Says that the node's network is there (condition `NetworkUnavailable`, which is never set to true).
///
/// # Errors
/// As [`annotate`].
pub async fn network_is_up(client: &Client, node: &str) -> Result<(), kube::Error> {
    let now = Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string();
    let condition = json!({
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "FlannelIsUp",
        "message": "Flannel is running on this node",
        "lastTransitionTime": now,
        "lastHeartbeatTime": now,
    });
    patch_status(client, node, &json!({"status": {"conditions": [condition]}})).await
}

async fn patch_status(client: &Client, node: &str, patch: &serde_json::Value) -> Result<(), kube::Error> {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let author = PatchParams { field_manager: Some(AUTHOR.to_owned()), ..PatchParams::default() };
    nodes.patch_status(node, &author, &Patch::Strategic(patch)).await.map(drop)
}

/// The node that a pod runs on; none if the scheduler has not placed it.
///
/// # Errors
/// As [`annotate`].
pub async fn node_of_pod(client: &Client, namespace: &str, pod: &str) -> Result<Option<String>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    Ok(pods.get(pod).await?.spec.and_then(|spec| spec.node_name).filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, subnet: &str) -> NodeObject {
        let mut node = NodeObject::default();
        node.metadata.name = Some(name.to_owned());
        node.spec.get_or_insert_default().pod_cidr = Some(subnet.to_owned());
        node
    }

    #[test]
    fn only_changes_that_matter_are_told_and_a_list_replaces_all() {
        let (nodes, mut listed) = (Nodes::default(), BTreeMap::new());
        let mut changes = nodes.changes();
        let mut take = |event| nodes.take(event, &mut listed);
        take(Event::Init);
        take(Event::InitApply(node("a", "10.1.0.0/24")));
        take(Event::InitApply(node("b", "10.2.0.0/24")));
        assert!(!nodes.is_synced() && nodes.all().is_empty());
        take(Event::InitDone);
        assert!(nodes.is_synced() && changes.has_changed().unwrap());
        changes.mark_unchanged();
        let mut heartbeat = node("a", "10.1.0.0/24");
        heartbeat.metadata.resource_version = Some("9".to_owned());
        take(Event::Apply(heartbeat));
        assert!(!changes.has_changed().unwrap());
        take(Event::Apply(node("a", "10.9.0.0/24")));
        assert!(changes.has_changed().unwrap());
        take(Event::Init);
        take(Event::InitApply(node("c", "10.3.0.0/24")));
        take(Event::InitDone);
        assert_eq!(nodes.all().iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["c"]);
        take(Event::Delete(node("c", "10.3.0.0/24")));
        assert!(nodes.get("c").is_none());
    }

    #[test]
    fn several_podcidrs_come_before_the_single_one() {
        let mut both = node("a", "10.1.0.0/24");
        both.spec.as_mut().unwrap().pod_cidrs = Some(vec!["10.1.0.0/24".into(), "fd00::/64".into()]);
        assert_eq!(plain(both).pod_cidrs, ["10.1.0.0/24", "fd00::/64"]);
        assert_eq!(plain(node("a", "10.1.0.0/24")).pod_cidrs, ["10.1.0.0/24"]);
    }
}
