//! The agent as a daemon: the allocator, the socket, probes, metrics and replayed releases, from the start to the end.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kube::Client;
use polynic_cluster::addresses::{KubeStore, StoreOptions};
use polynic_kernel::{Door, RealDoor};
use polynic_runtime::Shutdown;
use polynic_runtime::health::{Probe, Probes};
use polynic_runtime::http::{self, Answer, Handler, ListenError, Listener, Request};
use polynic_runtime::metrics::Page;
use polynic_wire::{AddressService, SocketService};
use tokio::task::JoinSet;

use super::api::Api;
use super::{Config, Service, replay, sysctls};

/// The base path of the probes.
const PROBES: &str = "/v1/runtime";

/// How long a probe waits for the agent's own answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// An agent that runs.
pub struct Daemon {
    service: Arc<Service>,
    tasks: JoinSet<()>,
}

impl Daemon {
    /// Starts everything; the socket answers from now on, with "not healthy" until the cluster has been seen.
    ///
    /// # Errors
    /// The socket or a port cannot be listened on.
    pub async fn start(
        config: Config,
        client: Client,
        seed: u64,
        shutdown: Shutdown,
    ) -> Result<Self, ListenError> {
        let options = StoreOptions {
            node: config.node.clone(),
            agent_namespace: config.allocator.agent_namespace.clone(),
        };
        let socket = http::unix(&config.socket)?;
        let health = listen(config.health_port).await?;
        let metrics = listen(config.metrics_port).await?;
        let store = Arc::new(KubeStore::start(client, options));
        let path = config.socket.clone();
        let (tunes, families) = (config.tune_sysctls, [config.allocator.ipv4, config.allocator.ipv6]);
        tracing::info!(socket = %path.display(), node = config.node, "the agent starts");
        for why in &config.missing {
            tracing::warn!(why, "this is configured, and not there");
        }
        let service = Service::start(config, store, seed);
        let mut tasks = JoinSet::new();
        if tunes {
            tasks.spawn_blocking(move || tune(families));
        }
        tasks.spawn(http::serve(socket, Arc::new(Api(service.clone())), shutdown.clone()));
        tasks.spawn(replay::run(service.clone(), replay::INTERVAL, shutdown.clone()));
        if let Some(listener) = health {
            let probes = Probes::new(PROBES, move |probe| probe_socket(path.clone(), probe));
            tasks.spawn(http::serve(listener, Arc::new(probes), shutdown.clone()));
        }
        if let Some(listener) = metrics {
            let page = Page(Arc::new(service.metrics().page()));
            let scraped = Scraped { service: service.clone(), page };
            tasks.spawn(http::serve(listener, Arc::new(scraped), shutdown));
        }
        Ok(Self { service, tasks })
    }

    /// The service, for plugins in this process.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Waits until everything has ended, after the shutdown.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Sets the node's sysctls. What cannot be set is told, and keeps no pod from its addresses.
fn tune([ipv4, ipv6]: [bool; 2]) {
    let door = RealDoor::default();
    let tuned = door.open(None).map_err(|why| why.to_string());
    let tuned = tuned
        .and_then(|mut kernel| sysctls::tune(kernel.as_mut(), ipv4, ipv6).map_err(|why| why.to_string()));
    match tuned {
        Ok(failed) => failed.iter().for_each(|why| tracing::warn!(%why, "a sysctl of the node is not set")),
        Err(why) => tracing::warn!(why, "the sysctls of the node are not set"),
    }
}

/// The page of metrics, with what the allocator has counted up to now.
struct Scraped {
    service: Arc<Service>,
    page: Page,
}

impl Handler for Scraped {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        self.service.metrics().take_over(self.service.counters());
        self.page.handle(request).await
    }
}

/// On all addresses of both families, as the replaced agent listens.
async fn listen(port: Option<u16>) -> Result<Option<Listener>, ListenError> {
    let Some(port) = port else { return Ok(None) };
    let both = http::tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    match both {
        Ok(listener) => Ok(Some(listener)),
        // A node may have IPv6 switched off.
        Err(_) => http::tcp(SocketAddr::from(([0, 0, 0, 0], port))).await.map(Some),
    }
}

/// All probes ask what plugins ask, by the way that they ask it.
async fn probe_socket(path: std::path::PathBuf, _: Probe) -> Result<(), String> {
    let asked = tokio::task::spawn_blocking(move || ask(&path)).await;
    asked.map_err(|why| why.to_string())?
}

fn ask(path: &Path) -> Result<(), String> {
    SocketService::new(path).healthy(Instant::now() + PROBE_PATIENCE).map_err(|why| why.to_string())
}
