//! A copy of all objects of a kind, kept up to date by a watch.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Items<V> = BTreeMap<String, Arc<V>>;

/// What is known of a kind, by name, and by `namespace/name` where there are namespaces.
pub(crate) struct Cache<V> {
    items: RwLock<Items<V>>,
    synced: watch::Sender<bool>,
    changes: watch::Sender<u64>,
    task: std::sync::OnceLock<AbortHandle>,
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// Follows a watch until the cache is dropped. `convert` answers what is kept of an object; `None` is nothing.
    pub(crate) fn follow<K, C>(
        what: &'static str,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        convert: C,
    ) -> Arc<Self>
    where
        K: Resource + Send + 'static,
        C: Fn(K) -> Option<V> + Send + Sync + 'static,
    {
        let (items, synced, changes) = (RwLock::default(), watch::Sender::new(false), watch::Sender::new(0));
        let cache = Arc::new(Self { items, synced, changes, task: std::sync::OnceLock::new() });
        // The task must not keep the cache: it ends with it.
        let follower = Follower { cache: Arc::downgrade(&cache), convert, incoming: BTreeMap::new() };
        let task = tokio::spawn(follower.run(what, events));
        // A fresh cell cannot be full.
        let _ = cache.task.set(task.abort_handle());
        cache
    }

    /// One object.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<V>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All objects, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<V>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether all objects have been seen once.
    pub(crate) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until all objects have been seen once.
    pub(crate) async fn synced(&self) {
        // The sender lives as long as the cache.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Tells that something has changed; the number counts up.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Items<V>)) {
        change(&mut self.items.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|number| *number += 1);
    }
}

impl<V> Drop for Cache<V> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

struct Follower<V, C> {
    cache: std::sync::Weak<Cache<V>>,
    convert: C,
    /// Objects of a list that has not come to its end.
    incoming: Items<V>,
}

impl<V: Send + Sync + 'static, C> Follower<V, C> {
    async fn run<K: Resource>(
        mut self,
        what: &'static str,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
    ) where
        C: Fn(K) -> Option<V>,
    {
        let mut events = std::pin::pin!(events);
        let mut pause = FIRST_PAUSE;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    pause = FIRST_PAUSE;
                    let Some(cache) = self.cache.upgrade() else { return };
                    self.take(&cache, event);
                }
                Err(why) => {
                    tracing::warn!(what, error = %why, "the watch broke and is started again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take<K: Resource>(&mut self, cache: &Cache<V>, event: Event<K>)
    where
        C: Fn(K) -> Option<V>,
    {
        match event {
            Event::Init => self.incoming.clear(),
            Event::InitApply(object) => {
                let key = key(&object);
                self.incoming.extend((self.convert)(object).map(|value| (key, Arc::new(value))));
            }
            Event::InitDone => {
                let whole = std::mem::take(&mut self.incoming);
                cache.change(|items| *items = whole);
                cache.synced.send_replace(true);
            }
            Event::Apply(object) => {
                let key = key(&object);
                let value = (self.convert)(object).map(Arc::new);
                cache.change(|items| match value {
                    Some(value) => drop(items.insert(key, value)),
                    None => drop(items.remove(&key)),
                });
            }
            Event::Delete(object) => cache.change(|items| drop(items.remove(&key(&object)))),
        }
    }
}

fn key<K: Resource>(object: &K) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match &meta.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::Node;
    use tokio::sync::mpsc;

    fn node(name: &str) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        node
    }

    fn names(cache: &Cache<String>) -> Vec<String> {
        cache.all().iter().map(|name| name.as_ref().clone()).collect()
    }

    #[tokio::test]
    async fn a_list_replaces_what_was_known_only_when_it_is_complete() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let events =
            stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let cache = Cache::follow("nodes", events, |node: Node| node.metadata.name);
        let send = |event| sender.send(Ok(event)).unwrap();
        assert!(!cache.is_synced());
        send(Event::Init);
        send(Event::InitApply(node("a")));
        send(Event::InitApply(node("b")));
        send(Event::InitDone);
        cache.synced().await;
        assert_eq!(names(&cache), ["a", "b"]);
        send(Event::Apply(node("c")));
        send(Event::Delete(node("a")));
        send(Event::Init);
        send(Event::InitApply(node("d")));
        while cache.get("a").is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(names(&cache), ["b", "c"]);
        send(Event::InitDone);
        while cache.get("d").is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(names(&cache), ["d"]);
    }

    #[tokio::test]
    async fn the_watch_ends_with_the_cache() {
        let (sender, receiver) = mpsc::unbounded_channel::<watcher::Result<Event<Node>>>();
        let events =
            stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        drop(Cache::follow("nodes", events, |node: Node| node.metadata.name));
        sender.closed().await;
    }
}
