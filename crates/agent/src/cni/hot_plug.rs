//! Follows the network annotations of running pods (spec/dynamic-networks.md): decides whose turn it is, and has `attach::plug` do it, in the
//! pod's order with its CNI calls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use polynic_api::annotation;
use polynic_attach::plug::Followed;
use polynic_cluster::{NodeCache, NodePod};
use polynic_runtime::Shutdown;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Endpoint;

/// The first pause after something did not work; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// With nothing to do.
pub(super) const FAR: Duration = Duration::from_secs(3600);

/// What became of a pod's annotation.
struct Seen {
    sandbox: String,
    networks: String,
    /// When it is tried again; `None` once it is followed.
    again: Option<(Instant, Duration)>,
}

/// Follows until the end. Each pod whose turn it is has a task of its own: a plugin that hangs stops its pod, and neither the others nor
/// the end.
pub(crate) async fn run(endpoint: Arc<Endpoint>, cache: Arc<NodeCache>, shutdown: Shutdown) {
    let mut changes = cache.pod_changes();
    if shutdown.unless(cache.synced()).await.is_none() {
        return;
    }
    let mut following =
        Following { endpoint, seen: HashMap::new(), busy: HashSet::new(), tasks: JoinSet::new() };
    loop {
        changes.mark_unchanged();
        if shutdown.unless(following.endpoint.remember()).await.is_none() {
            return;
        }
        following.begin(&cache.pods());
        let next = following.next().unwrap_or_else(|| Instant::now() + FAR);
        tokio::select! {
            () = shutdown.triggered() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = following.endpoint.has_attached() => {}
            Some(done) = following.tasks.join_next() => following.note(done),
            () = sleep_until(next) => {}
        }
    }
}

/// Who has been followed, and who is being followed.
struct Following {
    endpoint: Arc<Endpoint>,
    /// By UID.
    seen: HashMap<String, Seen>,
    /// UIDs of the pods that have a task.
    busy: HashSet<String>,
    tasks: JoinSet<Done>,
}

/// How following a pod went.
struct Done {
    pod: Arc<NodePod>,
    sandbox: String,
    followed: Result<Followed, String>,
}

impl Following {
    /// Begins with all pods whose turn it is.
    fn begin(&mut self, pods: &[Arc<NodePod>]) {
        self.seen.retain(|uid, _| pods.iter().any(|pod| pod.info.uid == *uid));
        for pod in pods.iter().filter(|pod| !pod.is_deleting) {
            let uid = &pod.info.uid;
            let Some(sandbox) = self.endpoint.sandbox_of(&name(pod)) else { continue };
            if is_its_turn(self.seen.get(uid), &sandbox, networks(pod)) && self.busy.insert(uid.clone()) {
                self.tasks.spawn(follow(self.endpoint.clone(), pod.clone(), sandbox));
            }
        }
    }

    /// When somebody is tried again. One who is being tried is not waited for.
    fn next(&self) -> Option<Instant> {
        let idle = self.seen.iter().filter(|(uid, _)| !self.busy.contains(*uid));
        idle.filter_map(|(_, seen)| Some(seen.again?.0)).min()
    }

    fn note(&mut self, done: Result<Done, JoinError>) {
        // A task does not panic: what it has done on another thread may, and is an error then.
        let Ok(Done { pod, sandbox, followed }) = done else { return };
        self.busy.remove(&pod.info.uid);
        let before = self.seen.remove(&pod.info.uid);
        if let Some(now) = noted(&pod, sandbox, before.as_ref(), &followed) {
            self.seen.insert(pod.info.uid.clone(), now);
        }
    }
}

async fn follow(endpoint: Arc<Endpoint>, pod: Arc<NodePod>, sandbox: String) -> Done {
    let followed = endpoint.follow(&name(&pod), &sandbox).await;
    Done { pod, sandbox, followed }
}

fn is_its_turn(seen: Option<&Seen>, sandbox: &str, networks: &str) -> bool {
    let Some(seen) = seen else { return true };
    let is_other = seen.sandbox != sandbox || seen.networks != networks;
    is_other || seen.again.is_some_and(|(at, _)| at <= Instant::now())
}

/// What to remember; nothing of a pod that was not attached.
fn noted(
    pod: &NodePod,
    sandbox: String,
    before: Option<&Seen>,
    followed: &Result<Followed, String>,
) -> Option<Seen> {
    let try_again = match followed {
        Ok(Followed { is_attached: false, .. }) => return None,
        Ok(followed) => followed.try_again,
        Err(why) => {
            tracing::error!(pod = name(pod), why, "the pod's networks cannot follow its annotation");
            true
        }
    };
    let networks = networks(pod).to_owned();
    let same = before.filter(|before| before.networks == networks);
    let pause =
        same.and_then(|before| before.again).map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
    Some(Seen { sandbox, networks, again: try_again.then(|| (Instant::now() + pause, pause)) })
}

pub(super) fn name(pod: &NodePod) -> String {
    format!("{}/{}", pod.info.namespace, pod.info.name)
}

pub(super) fn networks(pod: &NodePod) -> &str {
    pod.info.annotations.get(annotation::NETWORKS).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_attach::PodInfo;

    fn pod(networks: &str) -> NodePod {
        let annotations = [(annotation::NETWORKS.to_owned(), networks.to_owned())].into();
        let info = PodInfo { namespace: "blue".into(), name: "p".into(), annotations, ..PodInfo::default() };
        NodePod { info, is_deleting: false }
    }

    const DONE: Result<Followed, String> = Ok(Followed { is_attached: true, try_again: false });
    const AGAIN: Result<Followed, String> = Ok(Followed { is_attached: true, try_again: true });

    #[test]
    fn a_pod_is_followed_once_for_each_text_and_sandbox() {
        assert!(is_its_turn(None, "c1", "a"));
        let seen = noted(&pod("a"), "c1".to_owned(), None, &DONE).unwrap();
        assert!(!is_its_turn(Some(&seen), "c1", "a"));
        assert!(is_its_turn(Some(&seen), "c1", "a,b"));
        assert!(is_its_turn(Some(&seen), "c2", "a"));
    }

    #[test]
    fn what_failed_is_tried_again_after_growing_pauses_until_the_text_changes() {
        let first = noted(&pod("a"), "c1".to_owned(), None, &AGAIN).unwrap();
        assert!(!is_its_turn(Some(&first), "c1", "a"), "not at once");
        let second = noted(&pod("a"), "c1".to_owned(), Some(&first), &Err("no".to_owned())).unwrap();
        assert_eq!(second.again.unwrap().1, FIRST_PAUSE * 2);
        let edited = noted(&pod("b"), "c1".to_owned(), Some(&second), &AGAIN).unwrap();
        assert_eq!(edited.again.unwrap().1, FIRST_PAUSE);
    }

    #[test]
    fn a_pod_that_was_not_attached_is_not_remembered() {
        let unattached = Ok(Followed::default());
        assert!(noted(&pod("a"), "c1".to_owned(), None, &unattached).is_none());
    }
}
