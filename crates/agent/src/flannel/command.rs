//! The command line `flanneld --kube-subnet-mgr ...` (spec/flannel.md 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use polynic_cluster::{client_at, flannel};
use polynic_cni::cause::chain;
use polynic_flannel::rules::RuleOptions;
use polynic_flannel::{
    Backend, DEFAULT_PATH, DEFAULT_PREFIX, Keys, NetConf, NetConfError, PerFamily, PrefixError, Selection,
    Settings,
};
use polynic_runtime::configuration::Environment;

use super::flags::{FlagError, Flags};
use super::{Config, PERIOD, key_file, run};
use crate::error::{CommandError, Failure};
use crate::part::{Part, Running, Stage, Surroundings};

/// The replaced program's name.
pub const NAME: &str = "flanneld";

pub(crate) const USAGE: &str = "flanneld --kube-subnet-mgr [--iface=NIC|ADDRESS]... [--ip-masq] [FLAG...]
  --kube-subnet-mgr               subnets come from Kubernetes' nodes; needed, because etcd is not offered
  --iface, --iface-regex          the NIC to other nodes by name, address or pattern; again for the next choice
  --iface-can-reach=ADDRESS       or the NIC that leads to this address
  --public-ip, --public-ipv6      the address that other nodes use
  --ip-masq                       masquerade what leaves the network; --ip-masq-fully-random-disable
  --net-config-path=FILE          network configuration (default /etc/kube-flannel/net-conf.json)
  --subnet-file=FILE              what the plugin reads (default /run/flannel/subnet.env)
  --kube-annotation-prefix=TEXT   of the nodes' annotations (default flannel.alpha.coreos.com)
  --kubeconfig-file, --kube-api-url
                                  which API server; otherwise that of the pod
  --iptables-forward-rules        accept what is forwarded (default true)
  --iptables-resync=SECONDS       how often all is looked at; --ip-blackhole-route: a route for the node's own subnet
  --set-node-network-unavailable  tell Kubernetes that the network is there (default true)
  --healthz-ip, --healthz-port    where /healthz and /readyz are served (default: not at all)
  --v=LEVEL, --version
  Each flag also by environment: FLANNELD_IP_MASQ=true. NODE_NAME, or POD_NAME and POD_NAMESPACE, say which node this is.";

/// Where the ConfigMap is mounted.
const NET_CONF: &str = "/etc/kube-flannel/net-conf.json";

/// Names the file of the private key, and where it is otherwise (spec/flannel.md 1).
const KEY_FILE: &str = "WIREGUARD_KEY_FILE";
const DEFAULT_KEY_FILE: &str = "/run/flannel/wgkey";

/// Why flanneld is not understood.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Flag(#[from] FlagError),
    #[error("--iface-regex={0:?} is no regular expression: {1}")]
    Pattern(String, regex_lite::Error),
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error(
        "polynic's flanneld gets its subnets from Kubernetes: --kube-subnet-mgr is needed (etcd is not offered)"
    )]
    NoEtcd,
    #[error("cannot read {}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    NetConf(#[from] NetConfError),
    #[error("which node is this? Set NODE_NAME, or POD_NAME and POD_NAMESPACE")]
    NoNode,
}

/// Whether the network configuration lies where the stock manifests put it.
pub(crate) fn is_configured() -> bool {
    Path::new(NET_CONF).exists()
}

/// Whether a command line asks for the version alone.
pub fn says_version(words: &[String]) -> bool {
    let asks = |flags: Flags| flags.truth("version", false) == Ok(true);
    Flags::read(words.iter().cloned(), &|_| None).is_ok_and(asks)
}

/// The daemon with its command line.
pub(crate) fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let wrong = |why: ReadError| CommandError::Config { service: NAME, why: chain(&why), code: 1 };
    let flags = Flags::read(words.iter().cloned(), environment).map_err(|why| wrong(why.into()))?;
    let start = Start::read(&flags, environment).map_err(wrong)?;
    Ok(Part {
        name: NAME,
        stage: Stage::Last,
        kubeconfig: flags.text("kubeconfig-file").map(PathBuf::from),
        log_level: if start.verbose > 4 { "debug".to_owned() } else { String::new() },
        run: Box::new(move |surroundings| Box::pin(serve(start, surroundings)) as Running),
    })
}

async fn serve(start: Start, surroundings: Surroundings) -> Result<(), Failure> {
    let failed = |why: &dyn std::error::Error| Failure::new(NAME, chain(why));
    start.settings.conf.warnings.iter().for_each(|warning| tracing::warn!(warning, "flannel"));
    let client = match &start.api_url {
        Some(url) => client_at(start.kubeconfig.as_deref(), url).await.map_err(|why| failed(&why))?,
        None => surroundings.client.ok_or_else(Failure::no_cluster)?,
    };
    let mut settings = start.settings;
    if let Backend::Wireguard(_) = settings.conf.backend {
        settings.secret = Some(key_file::load_or_make(&start.key_file).map_err(|why| failed(&why))?);
    }
    let config = Config {
        node: start.node.name(&client).await?,
        settings,
        subnet_file: start.subnet_file,
        set_network_available: start.set_network_available,
        resync: start.resync,
        health: start.health,
        seed: surroundings.seed,
    };
    run(config, client, surroundings.shutdown).await.map_err(|why| failed(&why))
}

/// What the command line and the files say.
struct Start {
    settings: Settings,
    node: WhichNode,
    subnet_file: PathBuf,
    /// Where the private key of the backend wireguard is.
    key_file: PathBuf,
    set_network_available: bool,
    resync: Duration,
    health: Option<SocketAddr>,
    kubeconfig: Option<PathBuf>,
    api_url: Option<String>,
    verbose: i32,
}

impl Start {
    fn read(flags: &Flags, environment: Environment<'_>) -> Result<Self, ReadError> {
        if !flags.truth("kube-subnet-mgr", false)? {
            return Err(ReadError::NoEtcd);
        }
        let path = PathBuf::from(flags.text("net-config-path").unwrap_or(NET_CONF));
        let text = std::fs::read(&path).map_err(|source| ReadError::File { path, source })?;
        let seconds = |text: &str| text.parse().ok().filter(|n| *n > 0).map(Duration::from_secs);
        Ok(Self {
            settings: settings(flags, NetConf::parse(&text)?)?,
            node: WhichNode::read(environment)?,
            subnet_file: flags.text("subnet-file").unwrap_or(DEFAULT_PATH).into(),
            key_file: environment(KEY_FILE)
                .filter(|path| !path.is_empty())
                .map_or_else(|| DEFAULT_KEY_FILE.into(), PathBuf::from),
            set_network_available: flags.truth("set-node-network-unavailable", true)?,
            resync: flags.read_as("iptables-resync", "number of seconds", seconds)?.unwrap_or(PERIOD),
            health: health(flags)?,
            kubeconfig: flags.text("kubeconfig-file").map(PathBuf::from),
            api_url: flags.text("kube-api-url").map(str::to_owned),
            verbose: flags.read_as("v", "number", |text| text.parse().ok())?.unwrap_or(0),
        })
    }
}

/// How the own node is known.
enum WhichNode {
    Named(String),
    OfPod { namespace: String, pod: String },
}

impl WhichNode {
    fn read(environment: Environment<'_>) -> Result<Self, ReadError> {
        let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
        if let Some(node) = variable("NODE_NAME") {
            return Ok(Self::Named(node));
        }
        match (variable("POD_NAMESPACE"), variable("POD_NAME")) {
            (Some(namespace), Some(pod)) => Ok(Self::OfPod { namespace, pod }),
            _ => Err(ReadError::NoNode),
        }
    }

    async fn name(self, client: &Client) -> Result<String, Failure> {
        let (namespace, pod) = match self {
            Self::Named(node) => return Ok(node),
            Self::OfPod { namespace, pod } => (namespace, pod),
        };
        let failed =
            |why: String| Failure::new(NAME, format!("cannot find the node of pod {namespace}/{pod}: {why}"));
        let found = flannel::node_of_pod(client, &namespace, &pod).await;
        let found = found.map_err(|why| failed(chain(&why)))?;
        found.ok_or_else(|| failed("it is on no node".to_owned()))
    }
}

fn health(flags: &Flags) -> Result<Option<SocketAddr>, FlagError> {
    let port = flags.read_as("healthz-port", "port", |text| text.parse::<u16>().ok())?.unwrap_or(0);
    let ip = flags.read_as("healthz-ip", "address", |text| text.parse::<IpAddr>().ok())?;
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Ok((port != 0).then_some(SocketAddr::new(ip, port)))
}

fn settings(flags: &Flags, conf: NetConf) -> Result<Settings, ReadError> {
    let pattern =
        |text: String| regex_lite::Regex::new(&text).map_err(|why| ReadError::Pattern(text.clone(), why));
    let ip = |name| flags.read_as(name, "address", |text| text.parse::<IpAddr>().ok());
    let v4 = |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let v6 = |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let v4 = flags.read_as("public-ip", "IPv4 address", v4)?;
    let v6 = flags.read_as("public-ipv6", "IPv6 address", v6)?;
    Ok(Settings {
        conf,
        keys: Keys::new(flags.text("kube-annotation-prefix").unwrap_or(DEFAULT_PREFIX))?,
        selection: Selection {
            interfaces: flags.all("iface"),
            patterns: flags.all("iface-regex").into_iter().map(pattern).collect::<Result<_, _>>()?,
            can_reach: ip("iface-can-reach")?,
            public: PerFamily { v4, v6 },
        },
        rules: RuleOptions {
            forward: flags.truth("iptables-forward-rules", true)?,
            masquerade: flags.truth("ip-masq", false)?,
            random: !flags.truth("ip-masq-fully-random-disable", false)?,
        },
        blackhole: flags.truth("ip-blackhole-route", false)?,
        secret: None,
    })
}

#[cfg(test)]
mod manifest;
#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str], conf: &str) -> Result<Start, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), conf).unwrap();
        let path = format!("--net-config-path={}", file.path().display());
        let words = line.iter().map(|word| (*word).to_owned()).chain([path]);
        let environment = |name: &str| (name == "NODE_NAME").then(|| "node1".to_owned());
        let flags = Flags::read(words, &environment).map_err(|why| why.to_string())?;
        Start::read(&flags, &environment).map_err(|why| why.to_string())
    }

    const CONF: &str = r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "vxlan"}}"#;

    #[test]
    fn the_guides_command_line_is_understood() {
        let start =
            read(&["--ip-masq", "--kube-subnet-mgr", "--iface=eth1", "--healthz-port=8081"], CONF).unwrap();
        assert_eq!(start.settings.selection.interfaces, ["eth1"]);
        assert!(
            start.settings.rules.masquerade && start.settings.rules.forward && start.settings.rules.random
        );
        assert_eq!(start.health, Some("0.0.0.0:8081".parse().unwrap()));
        assert_eq!(start.subnet_file, Path::new("/run/flannel/subnet.env"));
        assert!(start.set_network_available);
        assert_eq!(start.key_file, Path::new("/run/flannel/wgkey"));
    }

    #[test]
    fn what_cannot_work_is_said_at_the_start() {
        let why = |line: &[&str], conf: &str| read(line, conf).err().unwrap();
        assert!(why(&["--ip-masq"], CONF).contains("--kube-subnet-mgr is needed"));
        assert!(why(&["--kube-subnet-mgr"], "{}").contains("Network is missing"));
        assert!(why(&["--kube-subnet-mgr", "--public-ip=fd00::1"], CONF).contains("IPv4 address"));
        assert!(why(&["--kube-subnet-mgr", "--iface-regex=("], CONF).contains("no regular expression"));
        assert!(
            why(&["--kube-subnet-mgr", "--kube-annotation-prefix=A"], CONF).contains("annotation prefix")
        );
        assert!(says_version(&["--version".to_owned()]) && !says_version(&["--ip-masq".to_owned()]));
    }
}
