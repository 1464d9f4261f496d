//! Fan-out of committed changes to watchers, and the window of past changes that a watch may start in.
//!
//! Bounded on both sides: the window forgets its oldest events (a watch from before them is told so), and a watcher
//! that stays too far behind is ended rather than buffered for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Limits, StoreError, View};

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
}

impl Subscription {
    /// False if the watcher is gone or too slow.
    fn offer(&self, event: &Arc<Event>) -> bool {
        !event.key.starts_with(&self.prefix) || self.buffer.try_send(event.clone()).is_ok()
    }
}

struct State {
    window: VecDeque<Arc<Event>>,
    window_bytes: usize,
    /// Every event after this revision, up to `published`, is in the window.
    floor: u64,
    published: u64,
    /// The objects as of `published`.
    view: Arc<View>,
    watchers: Vec<Subscription>,
}

/// What keys held at a moment in the past, where that differs from now; `None` for an object that was not there.
pub(super) type Past = BTreeMap<String, Option<Bytes>>;

pub(super) struct Hub {
    limits: Limits,
    state: Mutex<State>,
}

impl Hub {
    pub(super) fn new(revision: u64, view: View, limits: Limits) -> Self {
        let state = State {
            window: VecDeque::new(),
            window_bytes: 0,
            floor: revision,
            published: revision,
            view: Arc::new(view),
            watchers: Vec::new(),
        };
        Self { limits, state: Mutex::new(state) }
    }

    /// State is only ever appended to or trimmed, so a panicking holder leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published(&self) -> u64 {
        self.state().published
    }

    /// The objects now, and the revision that this is.
    pub(super) fn now(&self) -> (Arc<View>, u64) {
        let state = self.state();
        (state.view.clone(), state.published)
    }

    /// The objects under `prefix` at `revision`, as the objects now and what was different then.
    pub(super) fn past(&self, prefix: &str, revision: u64) -> Result<(Arc<View>, Past), StoreError> {
        let state = self.state();
        if revision > state.published {
            return Err(StoreError::Future { asked: revision, current: state.published });
        }
        if revision < state.floor {
            return Err(StoreError::Compacted { asked: revision, oldest: state.floor });
        }
        let mut past = Past::new();
        let later = state.window.iter().rev().take_while(|event| event.revision > revision);
        for event in later.filter(|event| event.key.starts_with(prefix)) {
            past.insert(event.key.clone(), event.before.clone());
        }
        Ok((state.view.clone(), past))
    }

    pub(super) fn publish(&self, events: &[Arc<Event>], view: View) {
        let mut state = self.state();
        state.view = Arc::new(view);
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
        state.watchers.push(Subscription { prefix: prefix.into(), buffer });
        Ok(Watcher { since, backlog, events })
    }
}

/// The receiving end of a watch.
pub struct Watcher {
    since: u64,
    backlog: VecDeque<Arc<Event>>,
    events: mpsc::Receiver<Arc<Event>>,
}

impl Watcher {
    /// The next change; `None` when the watcher was too slow or the store is closed. Safe to cancel.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        loop {
            let event = self.events.recv().await?;
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
            if event.revision > self.since {
                return Some(event);
            }
        }
    }
}
