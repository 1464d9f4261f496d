//! What the endpoint is told: `daemon-config.json` and the environment (spec/multus.md 13.2).
//!
//! The file is read three ways: these settings, those of the generated configuration, and the overlay over what a shim sends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use polynic_attach::{Config as AttachConfig, ConfigError as AttachError};
use polynic_cluster::Limits;
use polynic_cni::JsonMap;
use polynic_cni::json::{self, JsonError};
use polynic_install::generate::{Settings, SettingsError};
use polynic_runtime::configuration::Environment;
use polynic_wire::multus::{SOCKET_DIR, SOCKET_NAME, deletions};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/cni/net.d/multus.d/daemon-config.json";

/// Calls that run at the same time unless the configuration says otherwise. Each has a thread, most of whose time goes to waiting for the
/// kernel, the API server, or somebody else's plugin.
const WORKERS: usize = 24;

/// Why the endpoint cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is in it cannot be.
    #[error("{}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<ConfigError>,
    },
    /// It is no JSON object, or a key has the wrong type.
    #[error("the configuration is not understood: {0}")]
    Json(JsonError),
    /// What is needed for generating `00-multus.conf` is missing.
    #[error(transparent)]
    Generator(#[from] SettingsError),
    /// What goes over the shims' configuration makes no sense: with it every call would be refused.
    #[error("the configuration of the calls is not understood")]
    Overlay(#[source] AttachError),
    /// A key has a value that cannot be.
    #[error("{key}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Everything the endpoint is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Directory of the socket.
    pub socket_dir: PathBuf,
    /// Root directory of the node for plugins, unless it is ours.
    pub chroot_dir: Option<PathBuf>,
    /// Level of the daemon's own log, by the replaced daemon's names.
    pub log_level: String,
    /// Port of the metrics on all addresses; none is no metrics.
    pub metrics_port: Option<u16>,
    /// Whether that port serves `/debug/pprof/` as well.
    pub profiles: bool,
    /// Calls that are served at the same time, the others wait; none is no other limit than `workers`.
    pub connection_limit: Option<usize>,
    /// Threads for calls.
    pub workers: usize,
    /// Name of this node, if the environment has it; without it all pods are watched.
    pub node: Option<String>,
    /// What generates `00-multus.conf`; none is nothing, as where a test or somebody else writes it.
    pub generator: Option<Settings>,
    /// Certificates of this node for the API server, if they are used.
    pub certificates: Option<PerNodeCertificate>,
    /// Attach and detach networks of running pods when their annotation is edited.
    pub hot_plug: bool,
    /// Where deletions wait that could not be completed.
    pub deletions: PathBuf,
    /// How long an attachment waits for the API server.
    pub patience: Limits,
    /// Directory of volatile state, records of attachments and locks, as plugins see it.
    pub state: PathBuf,
    /// What goes over the configuration that a shim sends.
    pub overlay: JsonMap,
}

/// Where certificates of this node come from (spec/multus.md 13.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerNodeCertificate {
    /// Credentials for the first request.
    pub bootstrap: PathBuf,
    /// Where certificates are kept.
    pub directory: PathBuf,
    /// How long one is to be valid.
    pub duration: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    socket_dir: String,
    chroot_dir: String,
    log_level: String,
    metrics_port: Option<u16>,
    enable_pprof: bool,
    connection_limit: Option<i64>,
    per_node_certificate: Option<WrittenCertificate>,
    hot_plug: Option<bool>,
    workers: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenCertificate {
    enabled: bool,
    bootstrap_kubeconfig: String,
    cert_dir: String,
    cert_duration: String,
}

impl Config {
    /// Reads file and environment.
    ///
    /// # Errors
    /// The file cannot be read, or says what cannot be.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::File { path: path.to_owned(), source };
        let text = std::fs::read(path).map_err(failed)?;
        let content = |source| ConfigError::Content { path: path.to_owned(), source: Box::new(source) };
        Self::of_file(&text, environment).map_err(content)
    }

    fn of_file(text: &[u8], environment: Environment<'_>) -> Result<Self, ConfigError> {
        let config = Self::read(text, environment)?;
        if let Some(root) = config.chroot_dir.as_ref().filter(|root| !root.is_dir()) {
            let why = format!("{} is no directory here; is the node's file system mounted?", root.display());
            return Err(ConfigError::Value { key: "chrootDir", why });
        }
        Ok(Self { generator: Some(Settings::read(text)?), ..config })
    }

    /// Reads the text of the file, and the environment. Keys match in any case.
    ///
    /// # Errors
    /// The text is no JSON object, or says what cannot be.
    pub fn read(text: &[u8], environment: Environment<'_>) -> Result<Self, ConfigError> {
        let map = json::parse_object(text).map_err(ConfigError::Json)?;
        let written: Written = json::from_map(&map).map_err(ConfigError::Json)?;
        let connection_limit = written.connection_limit.map(limit).transpose()?;
        let path = |text: String| Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
        let chroot_dir = path(written.chroot_dir).filter(|root| root != Path::new("/"));
        let config = Self {
            socket_dir: path(written.socket_dir).unwrap_or_else(|| SOCKET_DIR.into()),
            deletions: of_node(chroot_dir.as_deref(), deletions::DIRECTORY.as_ref()),
            chroot_dir,
            log_level: written.log_level,
            metrics_port: written.metrics_port,
            profiles: written.enable_pprof,
            connection_limit,
            workers: written.workers.unwrap_or(WORKERS).max(1),
            node: environment("MULTUS_NODE_NAME").filter(|node| !node.is_empty()),
            generator: None,
            certificates: certificates(written.per_node_certificate)?,
            hot_plug: written.hot_plug.unwrap_or(true),
            patience: Limits::PATIENT,
            state: "/run/polynic".into(),
            overlay: overlay(map),
        };
        config.attach().map_err(ConfigError::Overlay)?;
        Ok(config)
    }

    /// How pods are attached by our own keys alone, around a delegate that nobody asks for.
    pub(crate) fn attach(&self) -> Result<AttachConfig, AttachError> {
        let around = json!({"name": "delegate", "type": "multus-shim", "delegates": [{"name": "delegate", "type": "delegate"}]});
        let around = self.laid_over(around.as_object().cloned().unwrap_or_default());
        AttachConfig::parse(json::print_compact(&Value::Object(around)).as_bytes())
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(SOCKET_NAME)
    }

    /// Calls that run at the same time; a pod has one of these turns at most, and pods take turns.
    pub(crate) fn at_once(&self) -> usize {
        self.connection_limit.map_or(self.workers, |limit| limit.min(self.workers))
    }

    /// Where the endpoint itself keeps what a restart must not lose.
    pub(crate) fn own_state(&self) -> PathBuf {
        of_node(self.chroot_dir.as_deref(), &self.state)
    }

    /// What runtimes read now and give to shims; empty if there is no such file, or somebody else writes it.
    pub(crate) fn generated(&self) -> Vec<u8> {
        let file = self.generator.as_ref().map(Settings::output);
        file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default()
    }

    /// The level of the daemon's log by the names of our logs.
    pub fn own_log_level(&self) -> &'static str {
        match self.log_level.to_ascii_lowercase().as_str() {
            "debug" => "debug",
            "error" | "panic" => "error",
            _ => "info",
        }
    }

    /// A shim's configuration with ours over it (spec/multus.md 13.5).
    ///
    /// A readiness file is looked at for each call, generated configuration or not: the replaced daemon takes its configuration away when
    /// the file vanishes, ours stays (spec/decisions.md), and nothing is attached meanwhile.
    pub fn laid_over(&self, mut sent: JsonMap) -> JsonMap {
        for (key, value) in &self.overlay {
            json::remove_ci(&mut sent, key);
            sent.insert(key.clone(), value.clone());
        }
        sent
    }
}

/// A path of the node as it is seen here.
fn of_node(root: Option<&Path>, path: &Path) -> PathBuf {
    match root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}

/// The log of calls is silent on stderr unless it is switched on.
fn overlay(mut map: JsonMap) -> JsonMap {
    if json::get_ci(&map, "logToStderr").is_none() {
        map.insert("logToStderr".to_owned(), Value::Bool(false));
    }
    map
}

fn limit(written: i64) -> Result<usize, ConfigError> {
    let positive = usize::try_from(written).ok().filter(|limit| *limit > 0);
    positive.ok_or_else(|| ConfigError::Value {
        key: "connectionLimit",
        why: format!("{written} is no positive number"),
    })
}

fn certificates(written: Option<WrittenCertificate>) -> Result<Option<PerNodeCertificate>, ConfigError> {
    let Some(written) = written.filter(|written| written.enabled) else { return Ok(None) };
    let missing =
        |key| ConfigError::Value { key, why: "is needed when perNodeCertificate is enabled".to_owned() };
    if written.bootstrap_kubeconfig.is_empty() {
        return Err(missing("perNodeCertificate.bootstrapKubeconfig"));
    }
    if written.cert_dir.is_empty() {
        return Err(missing("perNodeCertificate.certDir"));
    }
    let text = if written.cert_duration.is_empty() { "10m" } else { written.cert_duration.as_str() };
    let duration = duration(text).ok_or_else(|| ConfigError::Value {
        key: "perNodeCertificate.certDuration",
        why: format!("{text:?} is no duration such as 10m or 24h"),
    })?;
    Ok(Some(PerNodeCertificate {
        bootstrap: written.bootstrap_kubeconfig.into(),
        directory: written.cert_dir.into(),
        duration,
    }))
}

/// A duration as Go writes it, of whole numbers: `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.get(digits..digits + 1)? {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    Some(Duration::from_secs(seconds)).filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &Value) -> Result<Config, String> {
        let environment = |name: &str| (name == "MULTUS_NODE_NAME").then(|| "n1".to_owned());
        Config::read(text.to_string().as_bytes(), &environment).map_err(|why| polynic_cni::cause::chain(&why))
    }

    #[test]
    fn defaults_are_those_of_the_replaced_daemon() {
        let config = read(&json!({})).unwrap();
        assert_eq!(config.socket(), Path::new("/run/multus/multus.sock"));
        let unset = (&config.chroot_dir, config.metrics_port, config.connection_limit);
        assert_eq!(unset, (&None, None, None));
        assert_eq!(config.own_state(), Path::new("/run/polynic"));
        assert_eq!((config.node.as_deref(), config.generator.is_none()), (Some("n1"), true));
        assert_eq!(config.deletions, Path::new("/var/lib/polynic/deletions"));
        assert_eq!(config.overlay, *json!({"logToStderr": false}).as_object().unwrap());
    }

    #[test]
    fn every_key_counts_in_any_case() {
        let config = read(&json!({
            "SocketDir": "/host/run/multus/", "chrootDir": "/hostroot", "logLevel": "verbose", "metricsPort": 9091, "enablePProf": true,
            "connectionLimit": 7, "hotPlug": false, "workers": 3,
            "perNodeCertificate": {"enabled": true, "bootstrapKubeconfig": "/b", "certDir": "/d", "certDuration": "1h30m"},
        }))
        .unwrap();
        assert_eq!(config.socket(), Path::new("/host/run/multus/multus.sock"));
        assert_eq!(config.chroot_dir.as_deref(), Some(Path::new("/hostroot")));
        assert_eq!(config.deletions, Path::new("/hostroot/var/lib/polynic/deletions"));
        assert_eq!(config.own_state(), Path::new("/hostroot/run/polynic"));
        assert_eq!((config.metrics_port, config.connection_limit, config.workers), (Some(9091), Some(7), 3));
        assert!(config.profiles);
        assert_eq!((config.own_log_level(), config.hot_plug), ("info", false));
        let certificates = config.certificates.unwrap();
        assert_eq!(certificates.duration, Duration::from_secs(5400));
    }

    #[test]
    fn the_file_in_which_something_is_wrong_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in ["{", r#"{"logLevel": 5}"#] {
            std::fs::write(file.path(), content).unwrap();
            let error = polynic_cni::cause::chain(&Config::load(file.path(), &|_| None).unwrap_err());
            assert!(error.starts_with(&format!("{}: ", file.path().display())), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert!(read(&json!({"connectionLimit": 0})).unwrap_err().contains("connectionLimit: 0"));
        assert!(read(&json!({"metricsPort": "x"})).unwrap_err().contains("metricsPort"));
        assert!(read(&json!([])).is_err());
        let enabled = json!({"perNodeCertificate": {"enabled": true, "bootstrapKubeconfig": "/b"}});
        assert!(read(&enabled).unwrap_err().contains("certDir"));
        let off = json!({"perNodeCertificate": {"enabled": false}});
        assert_eq!(read(&off).unwrap().certificates, None);
        let enabled = json!({"perNodeCertificate": {"enabled": true, "bootstrapKubeconfig": "/b", "certDir": "/d", "certDuration": "soon"}});
        assert!(read(&enabled).unwrap_err().contains("certDuration"));
    }

    #[test]
    fn keys_of_the_calls_that_make_no_sense_are_refused_at_the_start() {
        let wrong = [
            json!({"systemNamespaces": "kube-system"}),
            json!({"readinessIndicatorFile": ["/r"]}),
            json!({"logOptions": 7}),
            json!({"delegates": [{"name": "n"}]}),
        ];
        for keys in wrong {
            let why = read(&keys).unwrap_err();
            assert!(
                why.starts_with("the configuration of the calls is not understood: LoadNetConf: "),
                "{why}"
            );
        }
        read(&json!({"systemNamespaces": ["a"], "clusterNetwork": "/c", "unknown": {}})).unwrap();
    }

    #[test]
    fn the_servers_keys_win_and_the_readiness_file_is_looked_at_in_both_modes() {
        let sent = json!({"NamespaceIsolation": false, "name": "n", "readinessIndicatorFile": "/other", "logToStderr": true});
        for mode in ["auto", "/c"] {
            let config = read(&json!({
                "namespaceIsolation": true, "cniVersion": "1.0.0", "readinessindicatorfile": "/r", "multusConfigFile": mode,
            }));
            let laid = config.unwrap().laid_over(sent.as_object().unwrap().clone());
            let wanted = json!({
                "namespaceIsolation": true, "cniVersion": "1.0.0", "name": "n", "readinessindicatorfile": "/r", "logToStderr": false,
                "multusConfigFile": mode,
            });
            assert_eq!(laid, *wanted.as_object().unwrap());
        }
    }

    #[test]
    fn a_file_without_what_generating_needs_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Config::load(file.path(), &|_| None).map_err(|why| polynic_cni::cause::chain(&why))
        };
        assert!(load("{}").unwrap_err().contains("cniVersion"));
        assert!(load(r#"{"cniVersion":"0.3.1"}"#).unwrap().generator.is_some());
        let nowhere = load(r#"{"cniVersion":"0.3.1","chrootDir":"/nonexistent/root"}"#).unwrap_err();
        assert!(nowhere.contains(": chrootDir: /nonexistent/root is no directory here"), "{nowhere}");
        assert_eq!(load(r#"{"cniVersion":"0.3.1","chrootDir":"/"}"#).unwrap().chroot_dir, None);
    }
}
