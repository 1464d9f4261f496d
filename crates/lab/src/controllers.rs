//! What the controllers and the scheduler of a cluster do, through the public API alone.
//!
//! One loop for all: something changed, so take a [`Snapshot`] of the cluster, ask every controller what it would do, do it. A controller is a
//! pure function from the snapshot to [`Action`]s. Snapshots are read from the server, not from caches, so a controller always sees what
//! it did before, and needs no bookkeeping of its own. That costs a few listings per change, which a lab can afford.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

mod action;
mod daemon_set;
mod deployment;
mod endpoints;
mod meta;
pub(crate) mod node_lifecycle;
mod perform;
mod pod_facts;
mod pod_template;
mod replica_set;
mod revision;
mod scheduler;
mod service_account;
mod snapshot;
mod stateful_set;
#[cfg(test)]
mod testing;
mod triggers;
mod vigil;

pub use action::Note;
pub use endpoints::SERVICE as SERVICE_LABEL;

use action::Action;
use snapshot::Snapshot;
use vigil::Vigil;

/// Changes come in bursts: a pass waits this long for the rest of one.
const GATHER: Duration = Duration::from_millis(15);
/// The clock is a cause of change too: leases end, deadlines pass.
const TICK: Duration = Duration::from_secs(1);

/// A controller: what is to be done about the cluster as it is.
type Decide = fn(&Snapshot) -> Vec<Action>;

/// All of them, by the names under which they report events.
const CONTROLLERS: [(&str, Decide); 9] = [
    ("node-controller", node_lifecycle::decide),
    ("pod-garbage-collector", node_lifecycle::collect),
    ("deployment-controller", deployment::decide),
    ("replicaset-controller", replica_set::decide),
    ("statefulset-controller", stateful_set::decide),
    ("daemonset-controller", daemon_set::decide),
    ("endpointslice-controller", endpoints::decide),
    ("serviceaccount-controller", service_account::decide),
    ("default-scheduler", scheduler::decide),
];

/// Runs them for as long as the lab lives.
pub async fn run(client: Client) {
    let changed = triggers::watch(&client);
    let (mut vigil, start) = (Vigil::default(), Instant::now());
    loop {
        // Whichever comes first; a permit that was stored meanwhile counts.
        let _ = tokio::time::timeout(TICK, changed.notified()).await;
        tokio::time::sleep(GATHER).await;
        let began = Instant::now();
        match Snapshot::take(&client).await {
            Ok(mut snapshot) => {
                snapshot.silence = vigil.look(start.elapsed(), &snapshot.leases);
                pass(&client, &snapshot).await;
            }
            Err(why) => tracing::warn!(%why, "the controllers cannot read the cluster"),
        }
        tracing::trace!(took = ?began.elapsed(), "controllers' pass");
    }
}

async fn pass(client: &Client, snapshot: &Snapshot) {
    for (name, decide) in CONTROLLERS {
        perform::all(client, name, decide(snapshot)).await;
    }
}
