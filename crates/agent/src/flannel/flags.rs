//! flanneld's flags (spec/flannel.md 2), in Go's syntax: one dash or two, `=` or a space, truth values only with `=`.

use std::collections::BTreeMap;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Truth,
}

/// Every flag that flannel knows.
const FLAGS: [(&str, Kind); 37] = [
    ("kube-subnet-mgr", Kind::Truth),
    ("kube-api-url", Kind::Text),
    ("kubeconfig-file", Kind::Text),
    ("kube-annotation-prefix", Kind::Text),
    ("net-config-path", Kind::Text),
    ("subnet-file", Kind::Text),
    ("iface", Kind::Text),
    ("iface-regex", Kind::Text),
    ("iface-can-reach", Kind::Text),
    ("public-ip", Kind::Text),
    ("public-ipv6", Kind::Text),
    ("ip-masq", Kind::Truth),
    ("ip-masq-fully-random-disable", Kind::Truth),
    ("iptables-forward-rules", Kind::Truth),
    ("iptables-resync", Kind::Text),
    ("ip-blackhole-route", Kind::Truth),
    ("set-node-network-unavailable", Kind::Truth),
    ("healthz-ip", Kind::Text),
    ("healthz-port", Kind::Text),
    ("subnet-lease-renew-margin", Kind::Text),
    ("etcd-endpoints", Kind::Text),
    ("etcd-prefix", Kind::Text),
    ("etcd-keyfile", Kind::Text),
    ("etcd-certfile", Kind::Text),
    ("etcd-cafile", Kind::Text),
    ("etcd-username", Kind::Text),
    ("etcd-password", Kind::Text),
    ("use-multi-cluster-cidr", Kind::Truth),
    ("v", Kind::Text),
    ("vmodule", Kind::Text),
    ("log_backtrace_at", Kind::Text),
    ("logtostderr", Kind::Truth),
    ("alsologtostderr", Kind::Truth),
    ("stderrthreshold", Kind::Text),
    ("log_dir", Kind::Text),
    ("version", Kind::Truth),
    ("help", Kind::Truth),
];

/// Why a command line is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// There is no such flag.
    #[error("flag provided but not defined: -{0}; --help lists the flags")]
    Unknown(String),
    /// It is no flag.
    #[error("unexpected argument {0:?}: flags look like --iface=eth1")]
    Argument(String),
    /// Its value is missing.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// Its value is not what it should be.
    #[error("invalid value {value:?} for flag -{flag}: {expected}")]
    Invalid {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The values that were given, in the order they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(BTreeMap<String, Vec<String>>);

impl Flags {
    /// Reads the command line, and for what is not on it the environment (`FLANNELD_PUBLIC_IP`).
    pub(super) fn read(
        arguments: impl Iterator<Item = String>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FlagError> {
        let mut given = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix('-').ok_or_else(|| FlagError::Argument(argument.clone()))?;
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
            let value = match (kind(name)?, value) {
                (_, Some(value)) => value,
                (Kind::Truth, None) => "true".to_owned(),
                (Kind::Text, None) => arguments.next().ok_or_else(|| FlagError::NoValue(name.to_owned()))?,
            };
            given.0.entry(name.to_owned()).or_default().push(value);
        }
        for (name, _) in FLAGS {
            let variable = format!("FLANNELD_{}", name.replace('-', "_").to_uppercase());
            if let (false, Some(value)) = (given.0.contains_key(name), environment(&variable)) {
                given.0.insert(name.to_owned(), vec![value]);
            }
        }
        Ok(given)
    }

    /// All values of a flag; an empty one is none, as a template writes it whose value is not set.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let given = self.0.get(name).into_iter().flatten();
        given.filter(|text| !text.is_empty()).cloned().collect()
    }

    /// The last value of a flag; an empty one is none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.last()).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A truth value.
    pub(super) fn truth(&self, name: &str, default: bool) -> Result<bool, FlagError> {
        let read = |text: &str| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        };
        Ok(self.read_as(name, "true or false", read)?.unwrap_or(default))
    }

    /// Any other value.
    pub(super) fn read_as<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, FlagError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let invalid = || FlagError::Invalid { flag: name.to_owned(), value: value.to_owned(), expected };
        read(value).map(Some).ok_or_else(invalid)
    }
}

fn kind(name: &str) -> Result<Kind, FlagError> {
    let found = FLAGS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    found.ok_or_else(|| FlagError::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str], variables: &[(&str, &str)]) -> Result<Flags, FlagError> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Flags::read(line.iter().map(|word| (*word).to_owned()), &environment)
    }

    #[test]
    fn gos_syntax_is_understood() {
        let flags =
            read(&["--ip-masq", "-iface", "eth1", "--iface=eth2", "-ip-blackhole-route=false"], &[]).unwrap();
        assert_eq!(
            (flags.truth("ip-masq", false), flags.truth("ip-blackhole-route", true)),
            (Ok(true), Ok(false))
        );
        assert_eq!(flags.all("iface"), ["eth1", "eth2"]);
        assert_eq!(flags.truth("iptables-forward-rules", true), Ok(true));
        let unset = read(&["--iface=", "--iface-regex", "", "--public-ip="], &[]).unwrap();
        assert_eq!((unset.all("iface").len(), unset.all("iface-regex").len()), (0, 0));
        assert_eq!(unset.text("public-ip"), None);
    }

    #[test]
    fn the_environment_speaks_where_the_command_line_is_silent() {
        let variables = [("FLANNELD_PUBLIC_IP", "192.0.2.1"), ("FLANNELD_IFACE", "eth9")];
        let flags = read(&["--iface=eth1"], &variables).unwrap();
        assert_eq!(flags.text("public-ip"), Some("192.0.2.1"));
        assert_eq!(flags.all("iface"), ["eth1"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(read(&["--nonsense"], &[]), Err(FlagError::Unknown("nonsense".into())));
        assert_eq!(read(&["eth1"], &[]), Err(FlagError::Argument("eth1".into())));
        assert_eq!(read(&["--iface"], &[]), Err(FlagError::NoValue("iface".into())));
        let flags = read(&["--ip-masq=perhaps"], &[]).unwrap();
        assert!(flags.truth("ip-masq", false).unwrap_err().to_string().contains("perhaps"));
    }
}
