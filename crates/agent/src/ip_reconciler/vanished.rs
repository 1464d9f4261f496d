//! Pods that vanished and have not been looked at yet.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client};
use polynic_cluster::whereabouts::{Collected, Whose};
use tokio::sync::Notify;

/// Who says so, as the replaced program does.
const CONTROLLER: &str = "ip-control-loop";

/// Names and UIDs of vanished pods.
#[derive(Default)]
pub(super) struct Vanished {
    waiting: Mutex<Waiting>,
    told: Mutex<BTreeMap<String, String>>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    /// UIDs by `namespace/name`.
    pods: BTreeMap<String, String>,
    /// There may have been others that nobody saw vanish.
    all: bool,
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

    /// Waits for somebody to look at: those who vanished, or everybody when the pause is over.
    pub(super) async fn next(&self, pause: Duration) -> Whose {
        let somebody = async {
            while !self.waiting().all && self.waiting().pods.is_empty() {
                self.changed.notified().await;
            }
        };
        match tokio::time::timeout(pause, somebody).await {
            Ok(()) => Whose::Of(BTreeSet::new()),
            Err(_) => Whose::All,
        }
    }

    /// With all who are waiting by now; they are noted, so that their Events can name them.
    pub(super) fn with_others(&self, whose: Whose) -> Whose {
        let waiting = std::mem::take(&mut *self.waiting());
        let names: Vec<String> = waiting.pods.keys().cloned().collect();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(waiting.pods);
        match whose {
            Whose::Of(known) if !waiting.all => Whose::Of(known.into_iter().chain(names).collect()),
            _ => Whose::All,
        }
    }

    /// Events of those whose end was seen. Best effort: the log says the same.
    pub(super) async fn tell_pods(&self, client: &Client, collected: &Collected) {
        let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        for freed in &collected.allocations {
            let Some(uid) = told.get(&freed.podref) else { continue };
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
    use super::*;

    #[test]
    fn who_vanished_is_looked_at_and_everybody_after_a_gap() {
        let vanished = Vanished::default();
        let one = || BTreeSet::from(["a/web".to_owned()]);
        vanished.waiting().pods.insert("a/web".to_owned(), "u".to_owned());
        assert_eq!(vanished.with_others(Whose::Of(BTreeSet::new())), Whose::Of(one()));
        assert_eq!(vanished.with_others(Whose::Of(one())), Whose::Of(one()), "a failed look is repeated");
        vanished.waiting().all = true;
        assert_eq!(vanished.with_others(Whose::Of(one())), Whose::All);
        assert_eq!(vanished.with_others(Whose::All), Whose::All);
    }
}
