//! What the service is told: flags of the replaced program (spec/multi-networkpolicy.md 5), and some of our own.

use std::collections::BTreeSet;
use std::path::PathBuf;

use polynic_policy::{CustomRules, Options};

/// Why the service cannot be configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a flag, or a flag without its value.
    #[error("unknown argument {0:?}; --help lists the flags")]
    Argument(String),
    /// A value that is none.
    #[error("{flag} is {value:?}, want true or false")]
    Switch {
        /// Which flag.
        flag: String,
        /// Its value.
        value: String,
    },
    /// A file of rules cannot be read.
    #[error("{flag}: {file}: {why}")]
    CustomFile {
        /// Which flag.
        flag: String,
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// Nothing says which node this is.
    #[error("the name of this node is not known: set NODE_NAME or --hostname-override")]
    NoNode,
}

/// Everything the service is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node.
    pub node: String,
    /// The socket to listen on for attachments; none is no socket.
    pub socket: Option<PathBuf>,
    /// Where to keep which pod is attached to what.
    pub state: PathBuf,
    /// CNI caches, from which pods that somebody else attached are known.
    pub caches: Vec<PathBuf>,
    /// Policies act on networks whose first plugin is of one of these types; absent means all.
    pub network_plugins: Option<BTreeSet<String>>,
    /// Let all ICMP pass.
    pub accept_icmp: bool,
    /// Let all ICMPv6 pass.
    pub accept_icmpv6: bool,
    /// Rules for what comes into isolated interfaces, whatever policies say.
    pub custom_ingress: CustomRules,
    /// The same for what goes out.
    pub custom_egress: CustomRules,
    /// Credentials; absent for those of the pod.
    pub kubeconfig: Option<PathBuf>,
}

/// Where the service keeps its own state.
const STATE: &str = "/run/polynic/policy";
/// Where `multus` and container runtimes keep their caches.
const CACHES: [&str; 2] = ["/var/lib/cni/multus", "/var/lib/cni"];
/// Flags of the replaced program that need nothing here: it looked for namespaces through them, or logged.
const IGNORED: [&str; 8] = [
    "host-prefix",
    "container-runtime-endpoint",
    "v",
    "logtostderr",
    "alsologtostderr",
    "stderrthreshold",
    "pod-rules",
    "pod-iptables",
];

impl Config {
    /// The configuration of a node without any flags.
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            socket: Some(polynic_attach::config::POLICY_SOCKET.into()),
            state: STATE.into(),
            caches: CACHES.map(PathBuf::from).to_vec(),
            network_plugins: None,
            accept_icmp: false,
            accept_icmpv6: false,
            custom_ingress: CustomRules::default(),
            custom_egress: CustomRules::default(),
            kubeconfig: None,
        }
    }

    /// Reads flags, `--flag=value` or `--flag value`; `node` is the name unless a flag says otherwise.
    ///
    /// # Errors
    /// A flag or value is not understood, or no name is known.
    pub fn read(words: &[String], node: Option<String>) -> Result<Self, ConfigError> {
        let mut config = Self::new(&node.unwrap_or_default());
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let unknown = || ConfigError::Argument(word.clone());
            let flag = word.strip_prefix("--").or(word.strip_prefix('-')).ok_or_else(unknown)?;
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, value.to_owned()),
                // A switch may stand alone.
                None => (flag, words.next_if(|next| !next.starts_with('-')).cloned().unwrap_or_default()),
            };
            config.set(flag, value).map_err(|error| error.unwrap_or_else(unknown))?;
        }
        if config.node.is_empty() { Err(ConfigError::NoNode) } else { Ok(config) }
    }

    /// An error of nothing means that there is no such flag, or no value where one is needed.
    fn set(&mut self, flag: &str, value: String) -> Result<(), Option<ConfigError>> {
        let switch = || match value.as_str() {
            "" | "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Some(ConfigError::Switch { flag: format!("--{flag}"), value: value.clone() })),
        };
        match flag {
            "accept-icmp" => self.accept_icmp = switch()?,
            "accept-icmpv6" => self.accept_icmpv6 = switch()?,
            flag if IGNORED.contains(&flag) => {}
            "custom-v4-ingress-rule-file" | "custom-v6-ingress-rule-file" => {
                self.custom_ingress.extend(custom_rules(flag, value)?);
            }
            "custom-v4-egress-rule-file" | "custom-v6-egress-rule-file" => {
                self.custom_egress.extend(custom_rules(flag, value)?);
            }
            _ if value.is_empty() => return Err(None),
            "hostname-override" => self.node = value,
            "network-plugins" => {
                let types = value.split(',').map(str::trim).filter(|kind| !kind.is_empty());
                self.network_plugins = Some(types.map(str::to_owned).collect());
            }
            "socket" => self.socket = Some(value.into()),
            "state-dir" => self.state = value.into(),
            "cni-cache-dirs" => self.caches = value.split(',').map(PathBuf::from).collect(),
            "kubeconfig" => self.kubeconfig = Some(value.into()),
            _ => return Err(None),
        }
        Ok(())
    }

    /// The part that decides about rules.
    pub(crate) fn options(&self) -> Options {
        Options {
            node: self.node.clone(),
            network_plugins: self.network_plugins.clone(),
            accept_icmp: self.accept_icmp,
            accept_icmpv6: self.accept_icmpv6,
            custom_ingress: self.custom_ingress.clone(),
            custom_egress: self.custom_egress.clone(),
        }
    }
}

/// The rules of a file; no file, as a template writes it whose value is not set, has none.
fn custom_rules(flag: &str, file: String) -> Result<CustomRules, ConfigError> {
    if file.is_empty() {
        return Ok(CustomRules::default());
    }
    let text = std::fs::read_to_string(&file).map_err(|why| why.to_string());
    let rules = text.and_then(|text| CustomRules::parse(&text).map_err(|why| why.to_string()));
    rules.map_err(|why| ConfigError::CustomFile { flag: format!("--{flag}"), file, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Config, ConfigError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Config::read(&words, Some("n1".to_owned()))
    }

    #[test]
    fn the_replaced_programs_flags_are_understood() {
        assert_eq!(read(&[]), Ok(Config::new("n1")));
        let config = read(&[
            "--host-prefix=/host",
            "--container-runtime-endpoint",
            "unix:///run/crio/crio.sock",
            "--network-plugins=macvlan, sriov",
            "--accept-icmp",
            "--accept-icmpv6=true",
            "-v=4",
            "--hostname-override=other",
            "--custom-v4-ingress-rule-file=",
        ])
        .unwrap();
        let types = ["macvlan", "sriov"].map(str::to_owned);
        assert_eq!((config.node.as_str(), config.network_plugins), ("other", Some(types.into())));
        assert!(config.accept_icmp && config.accept_icmpv6);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |words: &[&str]| read(words).unwrap_err().to_string();
        assert!(text(&["--custom-v6-egress-rule-file=/nonexistent/r"]).contains("/nonexistent/r"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "tcp dport 22 accept\ncounter accept\n").unwrap();
        let flag = format!("--custom-v4-ingress-rule-file={}", file.path().display());
        let why = text(&[&flag]);
        assert!(why.contains("line 2") && why.contains("counter"), "{why}");
        std::fs::write(file.path(), "tcp dport 22 accept\n").unwrap();
        let config = read(&[&flag]).unwrap();
        assert!(
            config.custom_ingress != CustomRules::default() && config.custom_egress == CustomRules::default()
        );
        assert!(text(&["--accept-icmp=perhaps"]).contains("true or false"));
        assert!(text(&["--nonsense=1"]).contains("--nonsense"));
        assert!(text(&["daemon"]).contains("daemon"));
        assert!(text(&["--kubeconfig"]).contains("--kubeconfig"));
        assert_eq!(Config::read(&[], None), Err(ConfigError::NoNode));
    }
}
