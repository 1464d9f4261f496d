//! Does deletions that wait on disk: those that failed here, and those that a shim left when nobody listened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polynic_runtime::Shutdown;
use tokio::time::{Instant, sleep};

use super::Endpoint;

/// How often the directory is looked at.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// The longest pause between two tries of one deletion.
const LONGEST: Duration = Duration::from_secs(300);

/// When a deletion is tried next, and the pause after that.
struct Turn {
    at: Instant,
    pause: Duration,
}

/// Replays until the end.
pub async fn run(endpoint: Arc<Endpoint>, interval: Duration, shutdown: Shutdown) {
    let mut turns = BTreeMap::new();
    loop {
        if shutdown.unless(once(&endpoint, interval, &mut turns)).await.is_none() {
            return;
        }
        if shutdown.unless(sleep(interval)).await.is_none() {
            return;
        }
    }
}

/// Tries everything whose turn it is. A deletion that fails writes itself down again; pauses double.
async fn once(endpoint: &Arc<Endpoint>, interval: Duration, turns: &mut BTreeMap<String, Turn>) {
    endpoint.deletions().sweep(SystemTime::now());
    let pending = endpoint.deletions().pending();
    turns.retain(|container, _| pending.iter().any(|(waiting, _)| waiting == container));
    for (container, request) in pending {
        let now = Instant::now();
        if turns.get(&container).is_some_and(|turn| turn.at > now) {
            continue;
        }
        match endpoint.cni(request).await {
            Ok(_) => {
                tracing::info!(container, "a deletion that waited on disk is done");
                endpoint.forget_deletion(&container);
                turns.remove(&container);
            }
            Err(why) => {
                let pause = turns.get(&container).map_or(interval, |turn| (turn.pause * 2).min(LONGEST));
                tracing::warn!(container, ?why, ?pause, "a deletion that waited on disk failed again");
                turns.insert(container, Turn { at: now + pause, pause });
            }
        }
    }
}
