//! `kubeconfig_generator` (spec/multus.md 14.3): a kubeconfig that leads to the node's certificate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::config::{Kubeconfig, KubeconfigError};
use polynic_cluster::{ConnectError, client_from};
use polynic_cni::cause::chain;
use polynic_runtime::Shutdown;

use crate::certificate::issuer::{IssueError, Issuer};
use crate::certificate::store::Store;
use crate::files::{self, FileError};

/// How it is called.
pub const USAGE: &str = "usage: kubeconfig_generator [--certdir DIR] [--bootstrap-config FILE] [--kubeconfig FILE] [--cert-duration 10m]
  MULTUS_NODE_NAME names the node";

/// Why there is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// The command line or the environment is not understood.
    #[error("{0}\n{USAGE}")]
    Usage(String),
    /// The bootstrap configuration cannot be read.
    #[error("cannot read the bootstrap configuration {}", .path.display())]
    Bootstrap {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: KubeconfigError,
    },
    /// The bootstrap configuration names no API server.
    #[error("the bootstrap configuration {} names no cluster with a server", .0.display())]
    NoServer(PathBuf),
    /// A client cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no certificate.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The kubeconfig cannot be written or removed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where certificates are kept.
    pub directory: PathBuf,
    /// Credentials for the first request.
    pub bootstrap: PathBuf,
    /// What is written.
    pub output: PathBuf,
    /// How long a certificate is to be good.
    pub good: Duration,
    /// The node.
    pub node: String,
}

impl Settings {
    /// Reads command line and environment.
    ///
    /// # Errors
    /// An unknown flag, a duration that is none, or no node.
    pub fn read(arguments: &[String], node: Option<String>) -> Result<Self, GeneratorError> {
        let usage = |why: String| GeneratorError::Usage(why);
        let node = node.filter(|node| !node.is_empty());
        let mut settings = Self {
            directory: "/tmp".into(),
            bootstrap: "/tmp/kubeconfig".into(),
            output: "/run/multus/kubeconfig".into(),
            good: Duration::from_secs(600),
            node: String::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (flag, value) =
                argument.split_once('=').map_or((argument.as_str(), None), |(f, v)| (f, Some(v)));
            let value = value.or_else(|| arguments.next().map(String::as_str));
            let value = value.ok_or_else(|| usage(format!("{flag} is not understood")))?;
            match flag.trim_start_matches('-') {
                "certdir" => settings.directory = value.into(),
                "bootstrap-config" => settings.bootstrap = value.into(),
                "kubeconfig" => settings.output = value.into(),
                "cert-duration" => {
                    settings.good =
                        duration(value).ok_or_else(|| usage(format!("{value:?} is no duration")))?;
                }
                _ => return Err(usage(format!("unknown flag: {flag}"))),
            }
        }
        settings.node = node.ok_or_else(|| usage("MULTUS_NODE_NAME is not set".to_owned()))?;
        Ok(settings)
    }
}

/// As Go writes durations, in whole hours, minutes and seconds: `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let (mut seconds, mut number) = (0_u64, String::new());
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Gets a certificate, writes the kubeconfig, renews the certificate until the shutdown, and removes the kubeconfig.
///
/// # Errors
/// There is no first certificate, or a file cannot be written. Later failures are told and tried again.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<(), GeneratorError> {
    let issuer =
        Issuer { node: settings.node.clone(), store: Store::new(&settings.directory), good: settings.good };
    let bootstrap = connect(&settings.bootstrap).await?;
    let Some(first) = shutdown.unless(issuer.ensure(&bootstrap)).await else { return Ok(()) };
    first?;
    let text = kubeconfig(&settings.bootstrap, &issuer.store.current())?;
    files::replace(&settings.output, text.as_bytes(), 0o600)?;
    tracing::info!(file = %settings.output.display(), "wrote the kubeconfig of the node's certificate");
    let client = || async {
        // The certificate may have ended while nobody could renew it: then the bootstrap configuration is asked again.
        let own = connect(&settings.output).await.map_err(|why| chain(&why))?;
        if own.apiserver_version().await.is_ok() {
            return Ok(own);
        }
        connect(&settings.bootstrap).await.map_err(|why| chain(&why))
    };
    issuer.keep(client, &shutdown).await;
    Ok(files::remove(&settings.output)?)
}

async fn connect(kubeconfig: &Path) -> Result<Client, GeneratorError> {
    let client = client_from(Some(kubeconfig)).await?;
    client.ok_or_else(|| GeneratorError::NoServer(kubeconfig.to_owned()))
}

/// A client by the certificate of a store, for the server of the bootstrap configuration.
///
/// # Errors
/// Either cannot be read.
pub async fn client_by(bootstrap: &Path, store: &Store) -> Result<Client, GeneratorError> {
    let wrong = |source| GeneratorError::Bootstrap { path: bootstrap.to_owned(), source };
    let text = kubeconfig(bootstrap, &store.current())?;
    let config = Kubeconfig::from_yaml(&text).map_err(wrong)?;
    Ok(polynic_cluster::client_of(config, bootstrap).await?)
}

/// The kubeconfig: the bootstrap configuration's server, and the certificate in place of its credentials.
fn kubeconfig(bootstrap: &Path, certificate: &Path) -> Result<String, GeneratorError> {
    let wrong = |source| GeneratorError::Bootstrap { path: bootstrap.to_owned(), source };
    let config = Kubeconfig::read_from(bootstrap).map_err(wrong)?;
    let cluster = config.clusters.into_iter().find_map(|named| named.cluster);
    let none = || GeneratorError::NoServer(bootstrap.to_owned());
    let cluster = cluster.ok_or_else(none)?;
    let server = cluster.server.ok_or_else(none)?;
    let trust = match (cluster.certificate_authority_data, cluster.certificate_authority) {
        (Some(data), _) => format!("certificate-authority-data: {data}"),
        (None, Some(file)) => {
            let pem = files::read(Path::new(&file))?.unwrap_or_default();
            format!("certificate-authority-data: {}", STANDARD.encode(pem))
        }
        (None, None) => "insecure-skip-tls-verify: true".to_owned(),
    };
    let certificate = certificate.display();
    Ok(format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: default-cluster\n  cluster:\n    server: {server}\n    {trust}\nusers:\n\
         - name: default-auth\n  user:\n    client-certificate: {certificate}\n    client-key: {certificate}\ncontexts:\n\
         - name: default-context\n  context:\n    cluster: default-cluster\n    namespace: default\n    user: default-auth\n\
         current-context: default-context\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Settings, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Settings::read(&words, Some("n1".to_owned())).map_err(|why| why.to_string())
    }

    #[test]
    fn the_command_line_has_the_replaced_programs_defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.directory, settings.bootstrap), ("/tmp".into(), "/tmp/kubeconfig".into()));
        assert_eq!((settings.output, settings.good.as_secs()), ("/run/multus/kubeconfig".into(), 600));
        let words = ["--certdir=/c", "-bootstrap-config", "/b", "--kubeconfig=/k", "--cert-duration=1h30m5s"];
        let settings = read(&words).unwrap();
        assert_eq!(
            (settings.directory, settings.bootstrap, settings.output),
            ("/c".into(), "/b".into(), "/k".into())
        );
        assert_eq!(settings.good.as_secs(), 5405);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(read(&["--cert-duration=soon"]).unwrap_err().starts_with("\"soon\" is no duration"));
        assert!(read(&["--cert-duration=5"]).is_err() && read(&["--cert-duration=0s"]).is_err());
        assert!(read(&["--nonsense=1"]).unwrap_err().starts_with("unknown flag: --nonsense"));
        assert!(
            Settings::read(&[], None).unwrap_err().to_string().starts_with("MULTUS_NODE_NAME is not set")
        );
    }
}
