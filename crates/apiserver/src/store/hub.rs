//! Fan-out of committed changes to watchers, and the window of past changes that a watch may start in.
//!
//! Bounded on both sides: the window forgets its oldest events (a watch from before them is told so), and a watcher
//! that stays too far behind is ended rather than buffered for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::objects::{Objects, Overlay, Scan};
use super::{Limits, Listing, Range, StoreError};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added,
    /// It was there and is different now.
    Modified,
    /// It is gone.
    Deleted,
}

/// One committed change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision that this change made.
    pub revision: u64,
    /// Key of the object.
    pub key: String,
    /// What happened.
    pub change: Change,
    /// The object afterwards; for a deletion its last state, carrying the deletion's revision.
    pub body: Bytes,
    /// The object before, unless it was added. Selectors need it: an object that stops matching counts as deleted.
    pub before: Option<Bytes>,
}

impl Event {
    fn size(&self) -> usize {
        self.body.len() + self.before.as_ref().map_or(0, Bytes::len) + self.key.len()
    }
}

struct Subscription {
    prefix: String,
    buffer: mpsc::Sender<Arc<Event>>,
    /// Bytes that wait in the buffer, and how many may.
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Subscription {
    /// False if the watcher is gone or too slow. One event may be as large as it is.
    fn offer(&self, event: &Arc<Event>) -> bool {
        if !event.key.starts_with(&self.prefix) {
            return true;
        }
        let before = self.waiting.fetch_add(event.size(), Ordering::Relaxed);
        let fits = before == 0 || before + event.size() <= self.bytes;
        fits && self.buffer.try_send(event.clone()).is_ok()
    }
}

struct State {
    window: VecDeque<Arc<Event>>,
    window_bytes: usize,
    /// Every event after this revision, up to `published`, is in the window.
    floor: u64,
    published: u64,
    /// The objects as of `published`.
    objects: Objects,
    watchers: Vec<Subscription>,
}

pub(super) struct Hub {
    limits: Limits,
    state: RwLock<State>,
}

impl Hub {
    pub(super) fn new(revision: u64, objects: Objects, limits: Limits) -> Self {
        let state = State {
            window: VecDeque::new(),
            window_bytes: 0,
            floor: revision,
            published: revision,
            objects,
            watchers: Vec::new(),
        };
        Self { limits, state: RwLock::new(state) }
    }

    /// What a panicking holder leaves is usable: objects, window and revision change together, in one go that cannot fail.
    fn state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published(&self) -> u64 {
        self.look().published
    }

    /// Lets `act` look at the objects, which do not change meanwhile.
    pub(super) fn with_objects<T>(&self, act: impl FnOnce(&Objects) -> T) -> T {
        act(&self.look().objects)
    }

    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        self.look().objects.get(key).cloned()
    }

    /// The objects in `range` as of the last commit.
    pub(super) fn list(&self, range: Range<'_>) -> Listing {
        let state = self.look();
        let (items, rest) =
            Scan::new(&state.objects, &Overlay::new(), range.prefix, range.start).page(range.limit);
        Listing { revision: state.published, items, rest }
    }

    /// The same as of `revision`: the objects now, with what has changed since undone.
    pub(super) fn list_at(&self, range: Range<'_>, revision: u64) -> Result<Listing, StoreError> {
        let state = self.look();
        if revision > state.published {
            return Err(StoreError::Future { asked: revision, current: state.published });
        }
        if revision < state.floor {
            return Err(StoreError::Compacted { asked: revision, oldest: state.floor });
        }
        let mut past = Overlay::new();
        let later = state.window.iter().rev().take_while(|event| event.revision > revision);
        for event in later.filter(|event| event.key.starts_with(range.prefix)) {
            past.insert(event.key.clone(), event.before.clone());
        }
        let (items, rest) = Scan::new(&state.objects, &past, range.prefix, range.start).page(range.limit);
        Ok(Listing { revision, items, rest })
    }

    pub(super) fn publish(&self, changes: Overlay, events: &[Arc<Event>]) {
        let mut state = self.state();
        for (key, body) in changes {
            match body {
                Some(body) => state.objects.insert(key, body),
                None => state.objects.remove(&key),
            };
        }
        for event in events {
            state.watchers.retain(|watcher| watcher.offer(event));
            state.window_bytes += event.size();
            state.published = event.revision;
            state.window.push_back(event.clone());
        }
        state.watchers.retain(|watcher| !watcher.buffer.is_closed());
        self.trim(&mut state);
    }

    fn trim(&self, state: &mut State) {
        let full = |s: &State| {
            s.window.len() > self.limits.window_events || s.window_bytes > self.limits.window_bytes
        };
        while full(state) {
            let Some(oldest) = state.window.pop_front() else { return };
            state.window_bytes -= oldest.size();
            state.floor = oldest.revision;
        }
    }

    pub(super) fn watch(&self, prefix: &str, since: u64) -> Result<Watcher, StoreError> {
        let mut state = self.state();
        if since < state.floor {
            return Err(StoreError::Compacted { asked: since, oldest: state.floor });
        }
        let missed = state.window.iter().filter(|e| e.revision > since && e.key.starts_with(prefix));
        let backlog = missed.cloned().collect();
        let (buffer, events) = mpsc::channel(self.limits.watcher_buffer.max(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let subscription = Subscription {
            prefix: prefix.into(),
            buffer,
            waiting: waiting.clone(),
            bytes: self.limits.watcher_bytes,
        };
        state.watchers.push(subscription);
        Ok(Watcher { since, backlog, events, waiting })
    }
}

/// The receiving end of a watch.
pub struct Watcher {
    since: u64,
    backlog: VecDeque<Arc<Event>>,
    events: mpsc::Receiver<Arc<Event>>,
    waiting: Arc<AtomicUsize>,
}

impl Watcher {
    /// The next change; `None` when the watcher was too slow or the store is closed. Safe to cancel.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        loop {
            let event = self.events.recv().await?;
            self.waiting.fetch_sub(event.size(), Ordering::Relaxed);
            if event.revision > self.since {
                return Some(event);
            }
        }
    }

    /// The next change if it is there already.
    pub fn ready(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        loop {
            let event = self.events.try_recv().ok()?;
            self.waiting.fetch_sub(event.size(), Ordering::Relaxed);
            if event.revision > self.since {
                return Some(event);
            }
        }
    }
}
