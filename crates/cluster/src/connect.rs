//! Which API server, with which credentials (spec/multus.md 12.1).
//!
//! A server named by its address needs no look-up. `localhost` and the names of /etc/hosts are looked up here, because the C library's
//! look-up does not work in a static program; the certificate is still checked for the name. Only a name that is in neither goes to the C
//! library.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::transport;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("failed to get context for the kubeconfig {path}")]
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: KubeconfigError,
    },
    /// The environment says that we are in a cluster, but its files cannot be used.
    #[error("failed to read the service account")]
    ServiceAccount(#[source] InClusterError),
    /// Nobody vouches for the server; the machine's CAs are not asked.
    #[error("no certificate authority is given for {0}")]
    NoAuthority(String),
    /// The server's address is none.
    #[error("{0:?} is no address of an API server")]
    Address(String),
    /// The client cannot be made.
    #[error("failed to make a client for {url}")]
    Client {
        /// The server.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// The runtime cannot be made.
    #[error("failed to start a runtime")]
    Runtime(#[source] std::io::Error),
}

/// A client for a kubeconfig's current context; without one for the cluster that we run in; `None` if there is neither.
///
/// Has to be called inside a tokio runtime. Nothing is sent yet.
pub async fn client_from(kubeconfig: Option<&Path>) -> Result<Option<Client>, ConnectError> {
    match config_from(kubeconfig).await? {
        Some(config) => client(config).map(Some),
        None => Ok(None),
    }
}

/// A client for a kubeconfig's current context.
///
/// # Errors
/// As [`client_from`]; `path` says in them where the kubeconfig is from.
pub async fn client_of(kubeconfig: Kubeconfig, path: &Path) -> Result<Client, ConnectError> {
    let wrong = |source| ConnectError::Kubeconfig { path: path.to_owned(), source };
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    client(checked(config.map_err(wrong)?)?)
}

/// As [`client_from`], at another address of the server; without kubeconfig and cluster that address is all that is known.
///
/// # Errors
/// As [`client_from`], and if the address is none.
pub async fn client_at(kubeconfig: Option<&Path>, url: &str) -> Result<Client, ConnectError> {
    let address = url.parse().map_err(|_| ConnectError::Address(url.to_owned()))?;
    let mut config = match config_from(kubeconfig).await? {
        Some(config) => config,
        None => Config::new(address),
    };
    config.cluster_url = url.parse().map_err(|_| ConnectError::Address(url.to_owned()))?;
    client(prepared(config))
}

/// As [`client_from`], one step before.
pub(crate) async fn config_from(kubeconfig: Option<&Path>) -> Result<Option<Config>, ConnectError> {
    let config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None if in_cluster() => Config::incluster().map_err(ConnectError::ServiceAccount)?,
        None => return Ok(None),
    };
    checked(config).map(Some)
}

/// Refuses a server for whom nobody vouches.
fn checked(config: Config) -> Result<Config, ConnectError> {
    let is_plain = config.cluster_url.scheme_str() == Some("http");
    if config.root_cert.is_none() && !config.accept_invalid_certs && !is_plain {
        return Err(ConnectError::NoAuthority(config.cluster_url.to_string()));
    }
    Ok(prepared(config))
}

/// Makes a client inside a runtime.
pub(crate) fn client(config: Config) -> Result<Client, ConnectError> {
    let url = config.cluster_url.to_string();
    transport::client(config).map_err(|source| ConnectError::Client { url, source: Box::new(source) })
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let wrong = |source| ConnectError::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(wrong)
}

fn in_cluster() -> bool {
    ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"]
        .iter()
        .all(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Retries are ours ([`crate::retry`]), so kube's are off.
fn prepared(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    with_address(config, &hosts)
}

/// Puts the address in place of a name that we can look up, and keeps the name for the certificate.
fn with_address(mut config: Config, hosts: &str) -> Config {
    let host = config.cluster_url.host().unwrap_or_default().to_owned();
    let Some(address) = look_up(&host, hosts) else { return config };
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let scheme = config.cluster_url.scheme_str().unwrap_or("https");
    let port = config.cluster_url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let path = config.cluster_url.path();
    if let Ok(url) = format!("{scheme}://{address}{port}{path}").parse() {
        config.cluster_url = url;
        config.tls_server_name.get_or_insert(host);
    }
    config
}

/// The address of a name. None for what is an address already.
fn look_up(name: &str, hosts: &str) -> Option<IpAddr> {
    if name.is_empty() || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return None;
    }
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut entries = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    entries.next().or_else(|| (name == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str =
        "# comment\n127.0.0.1 localhost\n::1 ip6-localhost\n192.0.2.7\tAPI.example api # the server\n";

    fn resolved(url: &str) -> (String, Option<String>) {
        let config = with_address(Config::new(url.parse().unwrap()), HOSTS);
        (config.cluster_url.to_string(), config.tls_server_name)
    }

    #[test]
    fn names_become_addresses_and_stay_for_the_certificate() {
        let named = |url: &str, name: &str| (url.to_owned(), Some(name.to_owned()));
        assert_eq!(resolved("https://localhost:6443/"), named("https://127.0.0.1:6443/", "localhost"));
        assert_eq!(resolved("https://api.example/k8s"), named("https://192.0.2.7/k8s", "api.example"));
        assert_eq!(resolved("https://ip6-localhost:1/"), named("https://[::1]:1/", "ip6-localhost"));
    }

    #[test]
    fn addresses_and_unknown_names_stay() {
        for url in ["https://10.0.0.1:6443/", "https://[fd00::1]:6443/", "https://elsewhere.example/"] {
            assert_eq!(resolved(url), (url.to_owned(), None));
        }
        assert_eq!(look_up("localhost", ""), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_kubeconfig_that_cannot_be_read_is_named() {
        let error = run(client_from(Some(Path::new("/nonexistent/kubeconfig")))).err().unwrap();
        assert_eq!(error.to_string(), "failed to get context for the kubeconfig /nonexistent/kubeconfig");
    }

    #[test]
    fn a_server_for_whom_nobody_vouches_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let yaml = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
                    clusters: [{name: k, cluster: {server: \"https://127.0.0.1:1\"}}]\nusers: [{name: u, user: {token: t}}]\n";
        fs::write(file.path(), yaml).unwrap();
        let error = run(client_from(Some(file.path()))).err().unwrap();
        assert!(matches!(error, ConnectError::NoAuthority(_)), "{error}");
    }
}
