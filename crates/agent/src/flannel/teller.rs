//! Tells the cluster what this node's daemon has chosen, until the cluster says the same.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use polynic_cluster::flannel::{self, Nodes};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Config;
use super::worker::Told;

/// Pause after a refusal, and how long the watch may take to show what was written.
const PAUSE: Duration = Duration::from_secs(3);

/// The task.
pub(super) struct Teller {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) nodes: Arc<Nodes>,
}

impl Teller {
    /// Never ends: somebody else may write the annotations as well.
    pub(super) async fn tell(&self, mut hears: watch::Receiver<Told>) {
        let mut changes = self.nodes.changes();
        let mut is_up = !self.config.set_network_available;
        loop {
            let told = hears.borrow_and_update().clone();
            if self.differs(&told) {
                self.try_to(
                    "write the node's annotations",
                    flannel::annotate(&self.client, &self.config.node, &told.annotations),
                )
                .await;
                // A node that has to be told again may be a new object of the old name, which has no condition yet.
                is_up = !self.config.set_network_available;
                // What the watch shows next says whether it was done.
                let _ = timeout(PAUSE, changes.changed()).await;
                continue;
            }
            if !is_up && told.is_complete {
                is_up = self
                    .try_to(
                        "set the node's condition",
                        flannel::network_is_up(&self.client, &self.config.node),
                    )
                    .await;
                if !is_up {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                heard = hears.changed() => if heard.is_err() { return },
                _ = changes.changed() => {}
            }
        }
    }

    fn differs(&self, told: &Told) -> bool {
        let Some(node) = self.nodes.get(&self.config.node) else { return false };
        told.annotations.iter().any(|(key, value)| node.annotations.get(key) != Some(value))
    }

    async fn try_to(&self, what: &str, request: impl Future<Output = Result<(), kube::Error>>) -> bool {
        match request.await {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(node = self.config.node, error = %why, "cannot {what}: it is tried again");
                false
            }
        }
    }
}
