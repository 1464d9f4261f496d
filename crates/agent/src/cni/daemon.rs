//! The endpoint as a daemon (spec/multus.md 13.3 and 13.9): what starts after what, with which code it ends, and how it goes.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kube::Client;
use polynic_cluster::NodeCache;
use polynic_cluster::whereabouts::Direct;
use polynic_cni::Delegate;
use polynic_cni::cause::chain;
use polynic_install::generate::{GenerateError, Generator, Settings};
use polynic_install::watch::{self, Stop};
use polynic_kernel::RealDoor;
use polynic_plugins::{Host, Registry};
use polynic_runtime::Shutdown;
use polynic_runtime::http::{self, Listener};
use polynic_runtime::metrics::Page;
use polynic_wire::multus::{self, Endpoint as _, MultusSocket, Reply};
use polynic_wire::whereabouts::Whereabouts;
use polynic_wire::{AddressService, AddressServices, ReleaseJournal, Sockets, journal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::api::Api;
use super::command::NAME;
use super::endpoint::{Endpoint, Surroundings};
use super::monitoring::Monitoring;
use super::rooted::Rooted;
use super::{Config, host_network, hot_plug, replay};
use crate::error::Failure;
use crate::part::Links;

/// How long pods and NADs are waited for; an API server that is away keeps nobody from starting.
const SYNC: Duration = Duration::from_secs(20);
/// How long the own socket is waited for.
const SELF_CHECK: Duration = Duration::from_secs(60);
/// For how long calls are served after the signal.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Codes with which the replaced daemon ends (13.3).
pub(super) mod exit {
    pub(in crate::cni) const NOT_READY: u8 = 1;
    pub(in crate::cni) const CANNOT_SERVE: u8 = 3;
}

/// What the daemon runs with.
pub struct Around {
    /// The API server; `None` without credentials.
    pub client: Option<Client>,
    /// Spreads what is chosen by chance.
    pub seed: u64,
    /// What other services offer in this process.
    pub links: Arc<Links>,
    /// How long calls are served after the end has come, see [`DRAIN`].
    pub drain: Duration,
}

/// Serves until the end.
///
/// # Errors
/// With the replaced daemon's codes: 1 for a default network that does not get ready, 3 for a socket that cannot be listened on.
pub async fn run(config: Config, around: Around, shutdown: Shutdown) -> Result<(), Failure> {
    let generator = match config.generator.clone() {
        Some(settings) => Some(prepared(settings, &shutdown).await?),
        None => None,
    };
    let daemon = Daemon::start(config, around, shutdown.clone()).await?;
    daemon.check_itself().await?;
    let Some(generator) = generator else {
        daemon.ended(&shutdown).await;
        return Ok(());
    };
    // Runtimes see the configuration when calls can be served, and not before.
    let keep = watch::blocking(shutdown.clone(), move |stop| {
        let mut generator = generator;
        generator.keep(stop)
    });
    let mut kept = std::pin::pin!(keep);
    let ended = daemon.ended(&shutdown);
    let mut ended = std::pin::pin!(ended);
    tokio::select! {
        () = &mut ended => generated(kept.await),
        done = &mut kept => {
            let outcome = generated(done);
            if outcome.is_ok() { ended.await }
            outcome
        }
    }
}

/// Waits for the default network: its readiness file, and its configuration.
async fn prepared(settings: Settings, shutdown: &Shutdown) -> Result<Generator, Failure> {
    let mut generator = Generator::new(settings);
    let prepare = move |stop: &Stop| generator.prepare(stop).map(|()| generator);
    generated(watch::blocking(shutdown.clone(), prepare).await)
}

/// With the replaced daemon's codes.
fn generated<T>(outcome: io::Result<Result<T, GenerateError>>) -> Result<T, Failure> {
    let outcome = outcome.map_err(GenerateError::Start).and_then(|outcome| outcome);
    outcome.map_err(|why| Failure { service: NAME, why: chain(&why), code: why.exit_code() })
}

/// A daemon that listens.
pub struct Daemon {
    endpoint: Arc<Endpoint>,
    /// Ends what serves.
    last: Shutdown,
    drain: Duration,
    tasks: JoinSet<()>,
}

impl Daemon {
    /// Starts to listen. `ending` makes it say that it is not ready any more.
    ///
    /// # Errors
    /// The socket or the metrics' port cannot be listened on.
    pub async fn start(config: Config, around: Around, ending: Shutdown) -> Result<Self, Failure> {
        let cannot = |why: String| Failure { service: NAME, why, code: exit::CANNOT_SERVE };
        make_socket_dir(&config.socket_dir)
            .map_err(|why| cannot(format!("{}: {why}", config.socket_dir.display())))?;
        let cluster = around.client.clone();
        let cluster = cluster.map(|client| NodeCache::start(client, config.node.as_deref(), config.patience));
        if let Some(cluster) = &cluster
            && timeout(SYNC, cluster.synced()).await.is_err()
        {
            tracing::error!(
                "the API server has not answered within {SYNC:?}; starting without knowing its pods"
            );
        }
        let metrics_listener = match config.metrics_port {
            Some(port) => Some(on_all_addresses(port).await.map_err(|why| cannot(chain(&why)))?),
            None => None,
        };
        let listener = http::unix(&config.socket()).map_err(|why| cannot(chain(&why)))?;
        tracing::info!(socket = %config.socket().display(), node = config.node, "the CNI endpoint starts");
        let endpoint = Endpoint::new(config.clone(), surroundings(&config, &around, cluster.clone()));
        let (last, mut tasks) = (Shutdown::default(), JoinSet::new());
        if let Some(cluster) = cluster.filter(|_| config.hot_plug) {
            tasks.spawn(host_network::run(endpoint.clone(), cluster.clone(), last.clone()));
            tasks.spawn(hot_plug::run(endpoint.clone(), cluster, last.clone()));
        }
        tasks.spawn(http::serve(listener, Arc::new(Api::new(endpoint.clone(), ending)), last.clone()));
        tasks.spawn(replay::run(endpoint.clone(), replay::INTERVAL, last.clone()));
        if let Some(listener) = metrics_listener {
            let page = Page(Arc::new(endpoint.metrics().page()));
            let monitoring = Monitoring { page, profiles: config.profiles };
            tasks.spawn(http::serve(listener, Arc::new(monitoring), last.clone()));
        }
        Ok(Self { endpoint, last, drain: around.drain, tasks })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Asks what shims ask, by the way that they ask it.
    ///
    /// # Errors
    /// There is no answer within a minute.
    pub async fn check_itself(&self) -> Result<(), Failure> {
        let directory = self.endpoint.config().socket_dir.clone();
        let end = Instant::now() + SELF_CHECK;
        let ask = move || MultusSocket::in_directory(&directory).post(multus::READYZ, b"", end);
        let why = match tokio::task::spawn_blocking(ask).await {
            Ok(Ok(Reply { status: 200, .. })) => return Ok(()),
            Ok(Ok(Reply { status, .. })) => format!("the own socket answers {status}"),
            Ok(Err(why)) => chain(&why),
            Err(why) => why.to_string(),
        };
        Err(Failure { service: NAME, why, code: exit::NOT_READY })
    }

    /// Waits for the end, serves a while longer, and lets what is under way come to its end.
    pub async fn ended(mut self, shutdown: &Shutdown) {
        shutdown.triggered().await;
        tracing::info!("no new pods from now on; calls are served for {:?}", self.drain);
        sleep(self.drain).await;
        self.last.trigger();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The directory of the socket, for root alone. What an earlier daemon left in it goes; directories in it are not ours.
fn make_socket_dir(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// On all addresses of both families.
async fn on_all_addresses(port: u16) -> Result<Listener, http::ListenError> {
    match http::tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // A node may have IPv6 switched off.
        Err(_) => http::tcp(SocketAddr::from(([0, 0, 0, 0], port))).await,
    }
}

fn surroundings(config: &Config, around: &Around, cluster: Option<Arc<NodeCache>>) -> Surroundings {
    Surroundings {
        delegate: delegate(config, Registry::new(host(config, around))),
        door: Box::new(RealDoor::default()),
        cluster,
        env: std::env::vars_os().collect(),
    }
}

/// Plugins work with the node's root directory where that is not ours.
fn delegate(config: &Config, registry: Registry) -> Box<dyn Delegate> {
    match config.chroot_dir.clone() {
        Some(root) => Box::new(Rooted { root, inner: Box::new(registry) }),
        None => Box::new(registry),
    }
}

fn host(config: &Config, around: &Around) -> Host {
    let number = AtomicU64::new(around.seed);
    Host {
        door: Box::new(RealDoor::default()),
        state: config.state.clone(),
        executable: fs::metadata("/proc/self/exe").ok().map(|m| (m.dev(), m.ino())),
        addresses: Box::new(Linked {
            links: around.links.clone(),
            whereabouts: Direct::new(mixed(around.seed)),
        }),
        releases: ReleaseJournal::new(journal::DIRECTORY),
        seed: Box::new(move || mixed(number.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))),
        warn: Box::new(|text| tracing::warn!("{text}")),
    }
}

/// SplitMix64's output function: neighbouring numbers become unrelated seeds.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The address service of this process, if it has one and a configuration means that one; else the one behind its socket.
struct Linked {
    links: Arc<Links>,
    whereabouts: Direct,
}

impl AddressServices for Linked {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        self.links.addresses_at(socket).unwrap_or_else(|| Sockets.at(socket))
    }

    fn whereabouts(&self) -> Arc<dyn Whereabouts> {
        Arc::new(self.whereabouts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_directory_is_emptied_of_files_and_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("multus");
        make_socket_dir(&directory).unwrap();
        fs::write(directory.join("multus.sock"), "").unwrap();
        fs::create_dir(directory.join("kept")).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        make_socket_dir(&directory).unwrap();
        let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_listened_on_ends_with_code_3() {
        let node = tempfile::tempdir().unwrap();
        fs::write(node.path().join("file"), "").unwrap();
        let text = serde_json::json!({"socketDir": node.path().join("file/multus")}).to_string();
        let config = Config::read(text.as_bytes(), &|_| None).unwrap();
        let config = Config { state: node.path().into(), deletions: node.path().into(), ..config };
        let around = Around { client: None, seed: 1, links: Arc::default(), drain: Duration::ZERO };
        let failure = run(config, around, Shutdown::default()).await.unwrap_err();
        assert_eq!(failure.code, 3);
        assert!(failure.why.contains("file/multus"), "{failure}");
    }

    #[tokio::test]
    async fn the_configuration_comes_with_the_socket_and_stays_after_the_end() {
        let node = tempfile::tempdir().unwrap();
        let path = |name: &str| node.path().join(name);
        let primary = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"}]}"#;
        fs::write(path("10-net.conflist"), primary).unwrap();
        let text = serde_json::json!({"cniVersion": "1.0.0", "cniConfigDir": node.path(), "socketDir": path("multus")});
        fs::write(path("daemon-config.json"), text.to_string()).unwrap();
        let config = Config::load(&path("daemon-config.json"), &|_| None).unwrap();
        let config = Config { state: path("state"), deletions: path("deletions"), ..config };
        let around = Around { client: None, seed: 1, links: Arc::default(), drain: Duration::ZERO };
        let shutdown = Shutdown::default();
        let running = tokio::spawn(run(config, around, shutdown.clone()));
        while !path("00-multus.conf").exists() {
            assert!(!running.is_finished(), "{:?}", running.await);
            sleep(Duration::from_millis(5)).await;
        }
        assert!(path("multus/multus.sock").exists());
        shutdown.trigger();
        running.await.unwrap().unwrap();
        assert!(path("00-multus.conf").exists());
    }
}
