//! The collector: objects whose owners have gone go too; owners that are deleted in the foreground wait for their
//! dependents; dependents of an owner that is orphaning lose the reference. One task that follows all changes; what it
//! knows is in [`graph`], what it decides in [`verdict`], and what it does goes the way of any client's request.

mod graph;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::delete::{DeleteOptions, Propagation};
use super::deletion::{FOREGROUND, ORPHAN, waits_for};
use super::{Api, Target, update};
use crate::json::{child, items, text};
use crate::resource::{Resource, Snapshot};
use crate::status::Status;
use crate::store::{Change, Event, Range, Watcher};

use self::graph::{Graph, Work};
use self::verdict::{Owner, Verdict, judge};

/// Objects that are looked at in one go at the start.
const PAGE: usize = 500;
/// Time after which work that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Collects for as long as the task lives. A collector that falls behind begins anew.
pub(crate) async fn run(api: Arc<Api>) {
    loop {
        let mut collector = Collector { api: api.clone(), graph: Graph::default(), failed: BTreeSet::new() };
        if let Err(status) = collector.follow().await {
            tracing::warn!(%status, "the collector of dependents begins anew");
            tokio::time::sleep(RETRY).await;
        }
    }
}

struct Collector {
    api: Arc<Api>,
    graph: Graph,
    failed: BTreeSet<Work>,
}

impl Collector {
    async fn follow(&mut self) -> Result<(), Status> {
        let since = self.api.store.published();
        let mut watcher = self.api.store.watch("", since)?;
        self.learn().await?;
        while let Some(event) = self.next(&mut watcher).await {
            match event {
                Some(event) => {
                    let work = self.graph.observe(&event);
                    self.perform(work).await;
                }
                None => {
                    let again = std::mem::take(&mut self.failed);
                    self.perform(again.into_iter().collect()).await;
                }
            }
        }
        Ok(())
    }

    /// The next change; nothing where failed work is due first.
    async fn next(&self, watcher: &mut Watcher) -> Option<Option<Arc<Event>>> {
        if self.failed.is_empty() {
            return watcher.next().await.map(Some);
        }
        tokio::time::timeout(RETRY, watcher.next()).await.map_or(Some(None), |event| event.map(Some))
    }

    /// Looks at all objects that are there, some at a time.
    async fn learn(&mut self) -> Result<(), Status> {
        let mut start = String::new();
        loop {
            let page = self.api.store.list(Range { prefix: "", start: &start, limit: PAGE })?;
            let Some(last) = page.items.last() else { return Ok(()) };
            start = format!("{}\0", last.key);
            for stored in page.items {
                let event = Event {
                    revision: page.revision,
                    key: stored.key,
                    change: Change::Added,
                    body: stored.body,
                    before: None,
                };
                let work = self.graph.observe(&event);
                self.perform(work).await;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn perform(&mut self, work: Vec<Work>) {
        for work in work {
            let done = match &work {
                Work::Judge(key) => self.judge(key).await,
                Work::Finish(key) => self.finish(key).await,
            };
            match done {
                Err(status) if !["NotFound", "Conflict"].contains(&status.reason) => {
                    tracing::debug!(%status, ?work, "collecting is put off");
                    self.failed.insert(work);
                }
                _ => {}
            }
        }
    }

    fn read(&self, key: &str) -> Result<Option<Value>, Status> {
        let stored = self.api.store.get(key)?;
        stored.map(|stored| serde_json::from_slice(&stored.body).map_err(Status::internal)).transpose()
    }

    /// Looks at the owners of the object at `key`.
    async fn judge(&self, key: &str) -> Result<(), Status> {
        let kinds = self.api.registry.snapshot();
        let (Some(object), Some(resource)) = (self.read(key)?, kinds.of_key(key)) else { return Ok(()) };
        let mut owners = Vec::new();
        for reference in items(&object, "metadata.ownerReferences") {
            owners.push(self.owner(&kinds, resource, &object, reference)?);
        }
        let has_dependents = self.graph.has_dependents(text(&object, "metadata.uid"));
        match judge(&object, &owners, has_dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Release(uids) => self.edit(key, move |object| without_owners(object, &uids)).await,
            Verdict::Delete(propagation) => self.delete(resource, &object, propagation).await,
        }
    }

    /// What has become of the owner that `reference` names.
    fn owner(
        &self,
        kinds: &Snapshot,
        dependent: &Resource,
        object: &Value,
        reference: &Value,
    ) -> Result<Owner, Status> {
        let (group, _) = text(reference, "apiVersion").split_once('/').unwrap_or(("", ""));
        let kind = text(reference, "kind");
        let Some(resource) = kinds.iter().find(|r| r.group == group && r.kind == kind) else {
            return Ok(Owner::Unknown);
        };
        if resource.namespaced && !dependent.namespaced {
            // An owner in a namespace cannot be found from outside of it; such a reference binds nobody.
            return Ok(Owner::Unknown);
        }
        let key = resource.key(text(object, "metadata.namespace"), text(reference, "name"));
        let found = self.read(&key)?.filter(|found| text(found, "metadata.uid") == text(reference, "uid"));
        Ok(match found {
            None => Owner::Gone,
            Some(found) if waits_for(&found, FOREGROUND) => Owner::Waiting,
            Some(_) => Owner::There,
        })
    }

    async fn delete(
        &self,
        resource: &Arc<Resource>,
        object: &Value,
        propagation: Option<Propagation>,
    ) -> Result<(), Status> {
        let target = Target {
            resource: resource.clone(),
            namespace: text(object, "metadata.namespace").into(),
            name: text(object, "metadata.name").into(),
        };
        let uid = text(object, "metadata.uid").to_owned();
        let options = DeleteOptions { uid, propagation, ..DeleteOptions::default() };
        self.api.delete(&target, options).await.map(drop)
    }

    /// Goes on with an owner that waits for its dependents, or for them to let go.
    async fn finish(&self, key: &str) -> Result<(), Status> {
        let Some(owner) = self.read(key)? else { return Ok(()) };
        let uid = text(&owner, "metadata.uid").to_owned();
        if waits_for(&owner, ORPHAN) {
            for dependent in self.graph.dependents(&uid) {
                let gone = vec![uid.clone()];
                self.edit(&dependent, move |object| without_owners(object, &gone)).await?;
            }
            return self.edit(key, |object| without_finalizer(object, ORPHAN)).await;
        }
        if !waits_for(&owner, FOREGROUND) {
            return Ok(());
        }
        let mut blocked = false;
        for dependent in self.graph.dependents(&uid) {
            Box::pin(self.judge(&dependent)).await?;
            let left = self.read(&dependent)?;
            blocked |= left.is_some_and(|object| blocks(&object, &uid));
        }
        if blocked {
            return Ok(());
        }
        self.edit(key, |object| without_finalizer(object, FOREGROUND)).await
    }

    /// Changes the metadata of the object at `key`, if it is there.
    async fn edit<F>(&self, key: &str, change: F) -> Result<(), Status>
    where
        F: Fn(&mut Value) + Send + 'static,
    {
        let kinds = self.api.registry.snapshot();
        let Some(resource) = kinds.of_key(key).cloned() else { return Ok(()) };
        let key = key.to_owned();
        let done = self.api.store.transact(move |txn| {
            let Some(old) = txn.get(&key)? else { return Ok(()) };
            let mut new = old.clone();
            change(&mut new);
            let target = Target {
                resource,
                namespace: text(&old, "metadata.namespace").into(),
                name: text(&old, "metadata.name").into(),
            };
            update::write(txn, &kinds, &target, (old, new)).map(drop)
        });
        done.await
    }
}

/// True if the object names `owner` as one that may not go before it.
fn blocks(object: &Value, owner: &str) -> bool {
    let references = items(object, "metadata.ownerReferences").iter();
    references.into_iter().any(|r| text(r, "uid") == owner && r["blockOwnerDeletion"] == true)
}

fn without_owners(object: &mut Value, uids: &[String]) {
    retain(object, "ownerReferences", |reference| !uids.iter().any(|uid| uid == text(reference, "uid")));
}

fn without_finalizer(object: &mut Value, finalizer: &str) {
    retain(object, "finalizers", |found| found != finalizer);
}

/// An empty list is left out.
fn retain(object: &mut Value, field: &str, keep: impl Fn(&Value) -> bool) {
    let metadata = child(object, "metadata");
    let Some(list) = metadata.get_mut(field).and_then(Value::as_array_mut) else { return };
    list.retain(keep);
    if list.is_empty() {
        metadata.as_object_mut().and_then(|map| map.remove(field));
    }
}
