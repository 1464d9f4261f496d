//! The garbage collector: objects whose owners are gone go as well, of whatever kind, also of kinds that are defined later.
//!
//! [`graph`] holds who owns whom and decides. This module feeds it from watches of all kinds' metadata, and carries out what it decides. Before an object
//! is deleted, the server is asked whether its owners are really gone: watches of different kinds do not come in one order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

mod graph;

use graph::{Graph, Item, Owner, Task};

/// Changes come in bursts.
const GATHER: Duration = Duration::from_millis(20);
/// What could not be done is tried again, and new kinds are looked for.
const TICK: Duration = Duration::from_secs(2);

/// Collects for as long as the lab lives.
pub async fn run(client: Client) {
    let collector = Arc::new(Collector { client, graph: Mutex::default(), changed: Notify::new() });
    tokio::spawn(keep_watching(Arc::clone(&collector)));
    loop {
        let _ = tokio::time::timeout(TICK, collector.changed.notified()).await;
        tokio::time::sleep(GATHER).await;
        let tasks = collector.graph().decide();
        for task in tasks {
            if let Err(why) = collector.perform(&task).await {
                tracing::debug!(?task, %why, "garbage stays for now");
            }
        }
    }
}

struct Collector {
    client: Client,
    graph: Mutex<Graph>,
    changed: Notify,
}

/// A watch of one kind; it ends with this.
struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches every kind there is, and begins anew with those that come.
async fn keep_watching(collector: Arc<Collector>) {
    let mut running: BTreeMap<String, Watching> = BTreeMap::new();
    let news = Arc::new(Notify::new());
    tokio::spawn(watch_definitions(collector.client.clone(), Arc::clone(&news)));
    loop {
        match Discovery::new(collector.client.clone()).run_aggregated().await {
            Ok(discovery) => collector.follow(&discovery, &mut running),
            Err(why) => tracing::debug!(%why, "cannot look up the kinds"),
        }
        let _ = tokio::time::timeout(15 * TICK, news.notified()).await;
        tokio::time::sleep(10 * GATHER).await;
    }
}

async fn watch_definitions(client: Client, news: Arc<Notify>) {
    let definitions = Api::<CustomResourceDefinition>::all(client);
    let mut events = std::pin::pin!(watcher(definitions, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        if event.is_ok() {
            news.notify_one();
        }
    }
}

impl Collector {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, discovery: &Discovery, running: &mut BTreeMap<String, Watching>) {
        let mut kinds = BTreeMap::new();
        for (resource, capabilities) in discovery.groups().flat_map(|group| group.recommended_resources()) {
            let collectable = [verbs::LIST, verbs::WATCH, verbs::DELETE]
                .iter()
                .all(|verb| capabilities.supports_operation(verb));
            // Events have no owners, and there are many.
            if collectable && resource.kind != "Event" {
                kinds.insert(graph::kind_of(&resource.group, &resource.kind), (resource, capabilities.scope));
            }
        }
        running.retain(|kind, _| kinds.contains_key(kind));
        self.graph().serve(kinds.keys().cloned());
        for (kind, (resource, scope)) in kinds {
            running.entry(kind.clone()).or_insert_with(|| {
                self.graph().learn(&kind, resource.clone(), scope == Scope::Namespaced);
                Watching(tokio::spawn(watch(Arc::clone(self), kind, resource)))
            });
        }
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            return Api::all_with(self.client.clone(), resource);
        }
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    async fn perform(&self, task: &Task) -> Result<(), kube::Error> {
        match task {
            Task::Delete { item, foreground } => self.delete(item, *foreground).await,
            Task::Finish { item, finalizer } => {
                let left: Vec<&String> = item.finalizers.iter().filter(|one| one != finalizer).collect();
                self.patch(item, json!({"metadata": {"finalizers": left}})).await
            }
            Task::Disown { item, owner } => {
                let left: Vec<_> =
                    item.owners.iter().filter(|one| one.uid != *owner).map(Owner::reference).collect();
                self.patch(item, json!({"metadata": {"ownerReferences": left}})).await
            }
        }
    }

    async fn patch(&self, item: &Item, patch: serde_json::Value) -> Result<(), kube::Error> {
        let Some((resource, _)) = self.graph().resource(&item.kind) else { return Ok(()) };
        let api = self.api(&resource, &item.namespace);
        api.patch(&item.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    async fn delete(&self, item: &Item, foreground: bool) -> Result<(), kube::Error> {
        for owner in &item.owners {
            if !foreground && self.lives(owner, &item.namespace).await? {
                return Ok(());
            }
        }
        let Some((resource, _)) = self.graph().resource(&item.kind) else { return Ok(()) };
        let own = Preconditions { uid: Some(item.uid.clone()), resource_version: None };
        let params = if foreground { DeleteParams::foreground() } else { DeleteParams::background() };
        self.api(&resource, &item.namespace).delete(&item.name, &params.preconditions(own)).await.map(drop)
    }

    async fn lives(&self, owner: &Owner, namespace: &str) -> Result<bool, kube::Error> {
        let Some((resource, namespaced)) = self.graph().resource(&owner.kind) else { return Ok(true) };
        let found = self
            .api(&resource, if namespaced { namespace } else { "" })
            .get_metadata_opt(&owner.name)
            .await?;
        Ok(found.is_some_and(|object| object.metadata.uid.as_deref() == Some(&owner.uid)))
    }
}

async fn watch(collector: Arc<Collector>, kind: String, resource: ApiResource) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(collector.client.clone(), &resource);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => collector.graph().begin(&kind),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                collector.graph().put(Item::of(&kind, &object.metadata));
            }
            Ok(watcher::Event::InitDone) => collector.graph().complete(&kind),
            Ok(watcher::Event::Delete(object)) => {
                collector.graph().remove(object.metadata.uid.as_deref().unwrap_or_default());
            }
            Err(why) => tracing::debug!(%kind, %why, "a watch broke off"),
        }
        collector.changed.notify_one();
    }
}
