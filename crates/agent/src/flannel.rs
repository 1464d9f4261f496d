//! flannel's daemon: kube subnet manager, backends and rules, `subnet.env` (spec/flannel.md). Under its own name `flanneld`.
//!
//! Three things go on. A watch keeps the cluster's nodes ([`Nodes`]). A plain thread compares the kernel with what follows from them, every
//! two seconds, whenever they change and whenever the kernel says that links, addresses or routes have (the `worker`), and writes `subnet.env`. A task tells the own node's annotations (the `teller`). None
//! waits for another: without API server the thread goes on with the nodes it knows.
//!
//! It does not remove what it made when it ends, so that packets go on while there is no daemon; but for tunnels of WireGuard, as the
//! replaced daemon has it.

pub mod command;
mod flags;
mod health;
mod key_file;
mod listener;
mod teller;
mod worker;
mod workshop;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use polynic_cluster::flannel::Nodes;
use polynic_flannel::Settings;
use polynic_runtime::Shutdown;
use polynic_runtime::http::{self, ListenError};
use tokio::sync::watch;

use health::Health;
use teller::Teller;
use worker::{Told, Worker};
use workshop::Workshop;

/// How long the kernel may differ from what is wanted without anybody looking.
const PERIOD: Duration = Duration::from_secs(2);

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Network, interface, rules.
    pub settings: Settings,
    /// Where the CNI plugin looks.
    pub subnet_file: PathBuf,
    /// Whether the node's condition `NetworkUnavailable` is set to false.
    pub set_network_available: bool,
    /// Longest time between two looks at the kernel; two seconds at most.
    pub resync: Duration,
    /// Where `/healthz` and `/readyz` are served.
    pub health: Option<SocketAddr>,
    /// Seed of hardware addresses; two nodes must not have the same.
    pub seed: u64,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port of the probes cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The thread that works on the kernel cannot be made, or has ended.
    #[error("the kernel's thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// The thread that works on the kernel has ended before the daemon.
    #[error("the kernel's thread has ended")]
    Ended,
}

/// Serves until the end.
///
/// # Errors
/// See [`Error`]. What can pass (no podCIDR yet, no interface, no API server) is waited for and logged.
pub async fn run(config: Config, client: Client, shutdown: Shutdown) -> Result<(), Error> {
    let nodes = Arc::new(Nodes::default());
    let ready = Arc::new(AtomicBool::new(false));
    if let Some(address) = config.health {
        let listener = http::tcp(address).await?;
        tokio::spawn(http::serve(listener, Arc::new(Health(ready.clone())), shutdown.clone()));
    }
    tracing::info!(node = config.node, backend = config.settings.conf.backend.name(), "flannel starts");
    let (told, hears) = watch::channel(Told::default());
    let workshop = Workshop::open(Worker::new(config.clone(), nodes.clone(), told, ready))?;
    let teller = Teller { client: client.clone(), config, nodes: nodes.clone() };
    let outcome = tokio::select! {
        () = nodes.follow(client, shutdown.triggered()) => Ok(()),
        () = workshop.wake_at(nodes.changes()) => Ok(()),
        () = teller.tell(hears) => Ok(()),
        () = workshop.ended() => Err(Error::Ended),
    };
    workshop.close().await?;
    tracing::info!("flannel has ended; but for tunnels of WireGuard, links, routes and rules stay");
    outcome
}

/// Whether the first pass has put everything in place.
fn is_ready(ready: &AtomicBool) -> bool {
    ready.load(Ordering::Relaxed)
}
