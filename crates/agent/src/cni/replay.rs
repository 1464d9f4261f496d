//! Does deletions that wait on disk: those that failed here, and those that a shim left when nobody listened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polynic_runtime::Shutdown;
use polynic_wire::multus::CniRequest;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Endpoint;
use super::endpoint::Refusal;

/// How often the directory is looked at.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// The longest pause between two tries of one deletion.
const LONGEST: Duration = Duration::from_secs(300);
/// Deletions that are tried at the same time: one that hangs keeps no other waiting, and all of them leave the runtime's calls room.
const AT_ONCE: usize = 8;

/// When a deletion is tried next, and the pause after that.
struct Turn {
    at: Instant,
    pause: Duration,
}

/// Replays until the end.
pub async fn run(endpoint: Arc<Endpoint>, every: Duration, shutdown: Shutdown) {
    let mut replay = Replay::new(endpoint, every);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.triggered() => return,
            Some(done) = replay.tasks.join_next() => replay.note(done),
            _ = ticks.tick() => replay.look(),
        }
        replay.begin();
    }
}

/// Deletions that wait, and those that are being tried.
struct Replay {
    endpoint: Arc<Endpoint>,
    /// The first pause; it doubles.
    pause: Duration,
    /// By container id.
    turns: BTreeMap<String, Turn>,
    due: VecDeque<(String, CniRequest)>,
    busy: BTreeSet<String>,
    tasks: JoinSet<(String, Result<(), Refusal>)>,
}

impl Replay {
    fn new(endpoint: Arc<Endpoint>, pause: Duration) -> Self {
        let (turns, due, busy, tasks) = Default::default();
        Self { endpoint, pause, turns, due, busy, tasks }
    }

    /// Reads what waits, once everything that was read before has begun.
    fn look(&mut self) {
        if !self.due.is_empty() {
            return;
        }
        self.endpoint.deletions().sweep(SystemTime::now());
        let mut pending = self.endpoint.deletions().pending();
        self.turns.retain(|container, _| pending.iter().any(|(waiting, _)| waiting == container));
        let now = Instant::now();
        pending.retain(|(container, _)| {
            !self.busy.contains(container) && self.turns.get(container).is_none_or(|turn| turn.at <= now)
        });
        self.due = pending.into();
    }

    fn begin(&mut self) {
        while self.busy.len() < AT_ONCE
            && let Some((container, request)) = self.due.pop_front()
        {
            self.busy.insert(container.clone());
            let endpoint = self.endpoint.clone();
            self.tasks.spawn(async move { (container, endpoint.cni(request).await.map(drop)) });
        }
    }

    /// A deletion that fails writes itself down again.
    fn note(&mut self, done: Result<(String, Result<(), Refusal>), JoinError>) {
        // A task does not panic: what it has done on another thread may, and is an error then.
        let Ok((container, outcome)) = done else { return };
        self.busy.remove(&container);
        let Err(why) = outcome else {
            tracing::info!(container, "a deletion that waited on disk is done");
            self.endpoint.forget_deletion(&container);
            self.turns.remove(&container);
            return;
        };
        let pause = self.turns.get(&container).map_or(self.pause, |turn| (turn.pause * 2).min(LONGEST));
        tracing::warn!(container, ?why, ?pause, "a deletion that waited on disk failed again");
        self.turns.insert(container, Turn { at: Instant::now() + pause, pause });
    }
}
