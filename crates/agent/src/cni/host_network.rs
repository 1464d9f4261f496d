//! Pods on the node's own network that ask for networks (spec/dynamic-networks.md 2): they have nothing to attach one to, and are told so.
//!
//! What is watched of pods does not say which network they are on, and most pods without a sandbox are only about to get one. So a pod is asked
//! about once, when it has been without for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use polynic_api::PodEvent;
use polynic_attach::{Cluster as _, PodRef};
use polynic_cluster::{NodeCache, NodeCluster, NodePod};
use polynic_runtime::Shutdown;
use tokio::time::{Instant, sleep_until};

use super::Endpoint;
use super::hot_plug::{FAR, name, networks};

/// A sandbox is there by then, or there will be none; also the pause before somebody is asked again who did not answer.
const SETTLED: Duration = Duration::from_secs(10);

/// Tells them until the end.
pub(crate) async fn run(endpoint: Arc<Endpoint>, cache: Arc<NodeCache>, shutdown: Shutdown) {
    let mut changes = cache.pod_changes();
    let mut host_network = HostNetwork::default();
    if shutdown.unless(cache.synced()).await.is_none() {
        return;
    }
    loop {
        changes.mark_unchanged();
        let has_none = |pod: &Arc<NodePod>| endpoint.sandbox_of(&name(pod)).is_none();
        let unattached: Vec<Arc<NodePod>> = cache.pods().into_iter().filter(has_none).collect();
        if shutdown.unless(host_network.round(&cache, &unattached)).await.is_none() {
            return;
        }
        let next = host_network.next().unwrap_or_else(|| Instant::now() + FAR);
        tokio::select! {
            () = shutdown.triggered() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep_until(next) => {}
        }
    }
}

/// Pods without a sandbox that ask for networks, by UID.
#[derive(Default)]
struct HostNetwork {
    waiting: HashMap<String, Waiting>,
}

struct Waiting {
    networks: String,
    /// When to ask; `None` once somebody has answered.
    at: Option<Instant>,
}

impl HostNetwork {
    /// Tells those whose turn it is. `unattached` are all pods without a sandbox.
    async fn round(&mut self, cache: &Arc<NodeCache>, unattached: &[Arc<NodePod>]) {
        for pod in self.due(unattached, Instant::now()) {
            let of = PodRef {
                namespace: pod.info.namespace.clone(),
                name: pod.info.name.clone(),
                uid: pod.info.uid.clone(),
            };
            let on_host = cache.is_on_host_network(&of).await;
            if on_host == Some(true) {
                let why = "the pod is on the node's own network, to which no network can be attached";
                let event = PodEvent::interface_rejected(&name(&pod), networks(&pod), why);
                NodeCluster::new(cache.clone()).event(&of, &event);
            }
            if let Some(waiting) = self.waiting.get_mut(&pod.info.uid) {
                waiting.at = on_host.is_none().then(|| Instant::now() + SETTLED);
            }
        }
    }

    /// When somebody is to be asked about next.
    fn next(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|waiting| waiting.at).min()
    }

    fn due(&mut self, unattached: &[Arc<NodePod>], now: Instant) -> Vec<Arc<NodePod>> {
        let asks = |pod: &&Arc<NodePod>| !pod.is_deleting && !networks(pod).is_empty();
        let asking: Vec<&Arc<NodePod>> = unattached.iter().filter(asks).collect();
        self.waiting.retain(|uid, waiting| {
            asking.iter().any(|pod| pod.info.uid == *uid && networks(pod) == waiting.networks)
        });
        let mut due = Vec::new();
        for pod in asking {
            let new = || Waiting { networks: networks(pod).to_owned(), at: Some(now + SETTLED) };
            let waiting = self.waiting.entry(pod.info.uid.clone()).or_insert_with(new);
            if waiting.at.is_some_and(|at| at <= now) {
                due.push(pod.clone());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_api::annotation;
    use polynic_attach::PodInfo;

    fn pod(uid: &str, networks: &str) -> Arc<NodePod> {
        let annotations = [(annotation::NETWORKS.to_owned(), networks.to_owned())].into();
        let info = PodInfo { name: uid.into(), uid: uid.into(), annotations, ..PodInfo::default() };
        Arc::new(NodePod { info, is_deleting: false })
    }

    fn due(known: &mut HostNetwork, pods: &[Arc<NodePod>], now: Instant) -> Vec<String> {
        known.due(pods, now).iter().map(|pod| pod.info.uid.clone()).collect()
    }

    #[tokio::test]
    async fn a_pod_is_asked_about_once_after_a_while_and_again_when_it_asks_otherwise() {
        let (mut known, start) = (HostNetwork::default(), Instant::now());
        let later = start + SETTLED;
        assert_eq!(due(&mut known, &[pod("a", "x"), pod("b", "")], start), [""; 0]);
        assert_eq!(known.next(), Some(later), "who asks for nothing is not waited for");
        assert_eq!(due(&mut known, &[pod("a", "x")], later), ["a"]);
        known.waiting.get_mut("a").unwrap().at = None;
        assert_eq!(due(&mut known, &[pod("a", "x")], later), [""; 0]);
        assert_eq!(due(&mut known, &[pod("a", "x,y")], later), [""; 0]);
        assert_eq!(due(&mut known, &[pod("a", "x,y")], later + SETTLED), ["a"]);
        // Its sandbox is there after all.
        assert_eq!(due(&mut known, &[], later), [""; 0]);
        assert_eq!(known.next(), None);
    }
}
