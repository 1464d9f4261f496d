//! Pods that vanished and have not been looked at yet.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client};
use polynic_cluster::whereabouts::{Collected, Whose};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Who says so, as the replaced program does.
const CONTROLLER: &str = "ip-control-loop";

/// Vanished pods that are remembered; if there are more, everybody is looked at.
const MOST: usize = 4096;

/// Who vanished, until somebody asks.
#[derive(Default)]
pub(super) struct Vanished {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// Who is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// UIDs of vanished pods by `namespace/name`.
    pods: BTreeMap<String, String>,
    /// Everybody: there may have been others that nobody saw vanish.
    all: bool,
}

impl Waiting {
    pub(super) fn extend(&mut self, more: Self) {
        self.all |= more.all;
        self.pods.extend(more.pods);
        if self.pods.len() > MOST {
            *self = Self { all: true, ..Self::default() };
        }
    }

    pub(super) fn is_everybody(&self) -> bool {
        self.all
    }

    pub(super) fn whose(&self) -> Whose {
        if self.all { Whose::All } else { Whose::Of(self.pods.keys().cloned().collect()) }
    }
}

impl Vanished {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the pods' names until the future is dropped.
    pub(super) async fn follow(&self, client: Client) {
        let pods: Api<PartialObjectMeta<Pod>> = Api::all(client);
        let mut events = pin!(watch(pods, watcher::Config::default()).default_backoff());
        loop {
            match events.try_next().await {
                Ok(Some(Event::Delete(pod))) => {
                    let meta = pod.metadata;
                    let podref =
                        format!("{}/{}", meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default());
                    self.waiting().pods.insert(podref, meta.uid.unwrap_or_default());
                    self.changed.notify_one();
                }
                Ok(Some(Event::InitDone)) => {
                    self.waiting().all = true;
                    self.changed.notify_one();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "pods cannot be followed"),
            }
        }
    }

    /// Waits for somebody to look at: those who vanished, or everybody when it is time for that. However many vanish, that time comes.
    pub(super) async fn next(&self, due: Instant) -> Waiting {
        let somebody = async {
            while !self.waiting().all && self.waiting().pods.is_empty() {
                self.changed.notified().await;
            }
        };
        // Who vanished stays noted until it is taken.
        let _ = tokio::time::timeout_at(due, somebody).await;
        Waiting { all: Instant::now() >= due, ..Waiting::default() }
    }

    /// All who are waiting by now.
    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }
}

/// Events of those whose end was seen. Best effort: the log says the same.
pub(super) async fn tell_pods(client: &Client, gone: &Waiting, collected: &Collected) {
    let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    for freed in &collected.allocations {
        let Some(uid) = gone.pods.get(&freed.podref) else { continue };
        let Some((namespace, name)) = freed.podref.split_once('/') else { continue };
        let event = Told {
            type_: EventType::Normal,
            reason: "IPAddressGarbageCollected".to_owned(),
            note: Some(format!("{} of IPPool {} is free again", freed.ip, freed.pool)),
            action: "Collect".to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &reference(namespace, name, uid)).await {
            tracing::debug!(%error, "an Event was not written");
        }
    }
}

fn reference(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn pods(names: &[&str]) -> Waiting {
        let pods = names.iter().map(|name| ((*name).to_owned(), "u".to_owned())).collect();
        Waiting { pods, all: false }
    }

    #[test]
    fn who_vanished_is_looked_at_and_everybody_after_a_gap() {
        let vanished = Vanished::default();
        let one = || Whose::Of(BTreeSet::from(["a/web".to_owned()]));
        *vanished.waiting() = pods(&["a/web"]);
        let mut whom = vanished.take();
        assert_eq!(whom.whose(), one());
        whom.extend(vanished.take());
        assert_eq!(whom.whose(), one(), "a failed look is repeated");
        vanished.waiting().all = true;
        whom.extend(vanished.take());
        assert_eq!(whom.whose(), Whose::All);
        whom.extend(pods(&["a/db"]));
        assert_eq!(whom.whose(), Whose::All);
        let many: Vec<String> = (0..=MOST).map(|n| format!("a/{n}")).collect();
        let mut whom = pods(&many.iter().map(String::as_str).collect::<Vec<_>>());
        whom.extend(Waiting::default());
        assert_eq!((whom.whose(), whom.pods.len()), (Whose::All, 0), "what is remembered is bounded");
    }

    #[tokio::test]
    async fn everybodys_time_comes_however_many_vanish() {
        let vanished = Vanished::default();
        let due = Instant::now() + Duration::from_millis(200);
        loop {
            *vanished.waiting() = pods(&["a/web"]);
            let whom = vanished.next(due).await;
            assert!(!vanished.take().pods.is_empty());
            if whom.is_everybody() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(Instant::now() >= due);
    }
}
