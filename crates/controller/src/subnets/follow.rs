//! Following applications, subnets and pools. Of applications only those are remembered that ask for something.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource};
use polynic_api::spider::SpiderKind;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::subnet::Subnet;
use polynic_cluster::spider::Stored;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::application::{Application, Workload};

/// Kinds of workloads.
const KINDS: usize = 7;

/// Kind, namespace, name.
type Key = (&'static str, String, String);

/// All applications that are known.
#[derive(Clone, Default)]
pub(super) struct Applications(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    all: BTreeMap<Key, Application>,
    /// Kinds whose objects have all been seen once.
    complete: BTreeSet<&'static str>,
}

impl Applications {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, and whether none can be missing.
    pub(super) fn all(&self) -> (Vec<Application>, bool) {
        let known = self.lock();
        // Several pods may speak for one.
        let mut all: Vec<Application> = known.all.values().cloned().collect();
        let mut seen = BTreeSet::new();
        all.retain(|application| seen.insert(application.controller.uid.clone()));
        (all, known.complete.len() == KINDS)
    }

    /// Notes one; answers whether that changes anything.
    fn note(&self, key: Key, application: Option<Application>) -> bool {
        let mut known = self.lock();
        match application {
            Some(new) => known.all.insert(key, new.clone()).is_none_or(|old| old != new),
            None => known.all.remove(&key).is_some(),
        }
    }

    /// After a list: what is not in it is gone.
    fn complete(&self, kind: &'static str, seen: &BTreeSet<Key>) {
        let mut known = self.lock();
        known.all.retain(|key, _| key.0 != kind || seen.contains(key));
        known.complete.insert(kind);
    }
}

/// Follows everything that matters, and says so when something changed, until the future is dropped.
pub(super) async fn follow(
    client: &Client,
    with_applications: bool,
    applications: &Applications,
    changed: &Notify,
) {
    let workloads = async {
        if !with_applications {
            return;
        }
        tokio::join!(
            workload::<Deployment>(client, "Deployment", applications, changed),
            workload::<ReplicaSet>(client, "ReplicaSet", applications, changed),
            workload::<StatefulSet>(client, "StatefulSet", applications, changed),
            workload::<DaemonSet>(client, "DaemonSet", applications, changed),
            workload::<Job>(client, "Job", applications, changed),
            workload::<CronJob>(client, "CronJob", applications, changed),
            workload::<Pod>(client, "Pod", applications, changed),
        );
    };
    tokio::join!(workloads, objects::<IPPool>(client, changed), objects::<Subnet>(client, changed));
}

async fn workload<W>(client: &Client, kind: &'static str, applications: &Applications, changed: &Notify)
where
    W: Workload
        + Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let mut events = pin!(watch(Api::<W>::all(client.clone()), watcher::Config::default()).default_backoff());
    let mut followed = Followed { kind, applications, listed: BTreeSet::new() };
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, kind, "applications cannot be followed");
                continue;
            }
        };
        if followed.note(event) {
            changed.notify_one();
        }
    }
}

/// Workloads of one kind.
struct Followed<'a> {
    kind: &'static str,
    applications: &'a Applications,
    /// What the list under way has brought.
    listed: BTreeSet<Key>,
}

impl Followed<'_> {
    /// Notes what happened; answers whether that changes anything.
    fn note<W: Workload + Resource>(&mut self, event: Event<W>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                false
            }
            Event::InitApply(object) => {
                let key = key_of(self.kind, &object);
                self.listed.insert(key.clone());
                self.applications.note(key, object.application())
            }
            Event::InitDone => {
                self.applications.complete(self.kind, &self.listed);
                true
            }
            Event::Apply(object) => self.applications.note(key_of(self.kind, &object), object.application()),
            Event::Delete(object) => self.applications.note(key_of(self.kind, &object), None),
        }
    }
}

fn key_of<W: Resource>(kind: &'static str, object: &W) -> Key {
    let meta = object.meta();
    (kind, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Specs and deletions only: agents write the status of pools all the time.
async fn objects<K: SpiderKind>(client: &Client, changed: &Notify) {
    let api: Api<PartialObjectMeta<Stored<K>>> = Api::all_with(client.clone(), &());
    let mut events = pin!(watch(api, watcher::Config::default()).default_backoff());
    let mut seen = BTreeMap::new();
    loop {
        let is_change = match events.try_next().await {
            Ok(Some(Event::Apply(object) | Event::InitApply(object))) => {
                let meta = object.metadata;
                let state =
                    (meta.generation, meta.deletion_timestamp.is_some(), meta.finalizers, meta.labels);
                let name = meta.name.unwrap_or_default();
                seen.insert(name, state.clone()).is_none_or(|old| old != state)
            }
            Ok(Some(Event::Delete(object))) => {
                seen.remove(&object.metadata.name.unwrap_or_default());
                true
            }
            Ok(Some(Event::Init | Event::InitDone)) => true,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, kind = K::KIND, "cannot be followed");
                false
            }
        };
        if is_change {
            changed.notify_one();
        }
    }
}
