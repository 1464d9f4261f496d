//! The command line `flanneld --kube-subnet-mgr ...` (spec/flannel.md 2).

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use polynic_cluster::{ConnectError, client_at, client_from, flannel};
use polynic_flannel::rules::RuleOptions;
use polynic_flannel::{
    DEFAULT_PATH, DEFAULT_PREFIX, Keys, NetConf, NetConfError, PerFamily, PrefixError, Selection, Settings,
};
use polynic_runtime::Shutdown;
use polynic_runtime::log::{self, LogError};

use super::flags::{FlagError, Flags};
use super::{Config, Error, run};

/// Where the ConfigMap is mounted.
const NET_CONF: &str = "/etc/kube-flannel/net-conf.json";

/// Why flanneld did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A regular expression.
    #[error("--iface-regex={0:?} is no regular expression: {1}")]
    Pattern(String, regex_lite::Error),
    /// The annotation prefix.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// Only Kubernetes hands out subnets here.
    #[error(
        "polynic's flanneld gets its subnets from Kubernetes: --kube-subnet-mgr is needed (etcd is not offered)"
    )]
    NoEtcd,
    /// The network configuration cannot be read.
    #[error("cannot read {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The network configuration cannot be used.
    #[error(transparent)]
    NetConf(#[from] NetConfError),
    /// Nobody says which node this is.
    #[error("which node is this? Set NODE_NAME, or POD_NAME and POD_NAMESPACE")]
    NoNode,
    /// The own pod cannot be read.
    #[error("cannot find the node of pod {pod}")]
    Pod {
        /// Which pod.
        pod: String,
        /// Why; nothing if the pod is on no node.
        #[source]
        source: Option<Box<kube::Error>>,
    },
    /// The level of the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The runtime cannot be made, or signals cannot be received.
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    /// The API server cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is neither a kubeconfig nor a service account.
    #[error("no API server: this is no pod of a cluster, and no --kubeconfig-file is given")]
    NoCluster,
    /// The daemon.
    #[error(transparent)]
    Daemon(#[from] Error),
}

/// What the environment says.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a command line asks for.
pub enum Asked {
    /// The version, which goes to standard error.
    Version,
    /// The daemon has ended.
    Done,
}

/// Runs flanneld until a signal ends it. `seed` makes hardware addresses: two nodes must not have the same.
///
/// # Errors
/// See [`CommandError`]; each is the end of the process with status 1.
pub fn command(
    arguments: impl Iterator<Item = OsString>,
    environment: Environment<'_>,
    seed: u64,
) -> Result<Asked, CommandError> {
    let flags = Flags::read(arguments.map(|a| a.to_string_lossy().into_owned()), environment)?;
    if flags.truth("version", false)? {
        return Ok(Asked::Version);
    }
    if !flags.truth("kube-subnet-mgr", false)? {
        return Err(CommandError::NoEtcd);
    }
    let path = PathBuf::from(flags.text("net-config-path").unwrap_or(NET_CONF));
    let text = std::fs::read(&path).map_err(|source| CommandError::File { path, source })?;
    let settings = settings(&flags, NetConf::parse(&text)?)?;
    let verbose = flags.read_as("v", "number", |text| text.parse::<i32>().ok())?.unwrap_or(0);
    log::start(if verbose > 4 { "debug" } else { "info" })?;
    settings.conf.warnings.iter().for_each(|warning| tracing::warn!(warning, "flannel"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(serve(&flags, settings, environment, seed))?;
    Ok(Asked::Done)
}

async fn serve(
    flags: &Flags,
    settings: Settings,
    environment: Environment<'_>,
    seed: u64,
) -> Result<(), CommandError> {
    let shutdown = Shutdown::by_signal().map_err(CommandError::Runtime)?;
    let client = connect(flags).await?;
    let seconds = |text: &str| text.parse().ok().filter(|n| *n > 0).map(Duration::from_secs);
    let config = Config {
        node: node_name(&client, environment).await?,
        settings,
        subnet_file: flags.text("subnet-file").unwrap_or(DEFAULT_PATH).into(),
        set_network_available: flags.truth("set-node-network-unavailable", true)?,
        resync: flags.read_as("iptables-resync", "number of seconds", seconds)?.unwrap_or(super::PERIOD),
        health: health(flags)?,
        seed,
    };
    Ok(run(config, client, shutdown).await?)
}

async fn connect(flags: &Flags) -> Result<Client, CommandError> {
    let kubeconfig = flags.text("kubeconfig-file").map(Path::new);
    match flags.text("kube-api-url") {
        Some(url) => Ok(client_at(kubeconfig, url).await?),
        None => client_from(kubeconfig).await?.ok_or(CommandError::NoCluster),
    }
}

async fn node_name(client: &Client, environment: Environment<'_>) -> Result<String, CommandError> {
    let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
    if let Some(node) = variable("NODE_NAME") {
        return Ok(node);
    }
    let (Some(pod), Some(namespace)) = (variable("POD_NAME"), variable("POD_NAMESPACE")) else {
        return Err(CommandError::NoNode);
    };
    let failed = |source| CommandError::Pod { pod: format!("{namespace}/{pod}"), source };
    let found = flannel::node_of_pod(client, &namespace, &pod).await;
    found.map_err(|why| failed(Some(Box::new(why))))?.ok_or_else(|| failed(None))
}

fn health(flags: &Flags) -> Result<Option<SocketAddr>, FlagError> {
    let port = flags.read_as("healthz-port", "port", |text| text.parse::<u16>().ok())?.unwrap_or(0);
    let ip = flags.read_as("healthz-ip", "address", |text| text.parse::<IpAddr>().ok())?;
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Ok((port != 0).then_some(SocketAddr::new(ip, port)))
}

fn settings(flags: &Flags, conf: NetConf) -> Result<Settings, CommandError> {
    let patterns = flags
        .all("iface-regex")
        .into_iter()
        .map(|text| regex_lite::Regex::new(&text).map_err(|why| CommandError::Pattern(text.clone(), why)));
    let ip = |name| flags.read_as(name, "address", |text| text.parse::<IpAddr>().ok());
    let v4 = ip("public-ip")?.filter(IpAddr::is_ipv4);
    let v6 = ip("public-ipv6")?.filter(IpAddr::is_ipv6);
    Ok(Settings {
        conf,
        keys: Keys::new(flags.text("kube-annotation-prefix").unwrap_or(DEFAULT_PREFIX))?,
        selection: Selection {
            interfaces: flags.all("iface"),
            patterns: patterns.collect::<Result<_, _>>()?,
            can_reach: ip("iface-can-reach")?,
            public: PerFamily { v4, v6 },
        },
        rules: RuleOptions {
            forward: flags.truth("iptables-forward-rules", true)?,
            masquerade: flags.truth("ip-masq", false)?,
            random: !flags.truth("ip-masq-fully-random-disable", false)?,
        },
        blackhole: flags.truth("ip-blackhole-route", false)?,
    })
}
