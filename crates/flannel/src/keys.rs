//! The names of annotations (spec/flannel.md 5).

use polynic_net::Family;

/// The prefix of installations that choose none.
pub const DEFAULT_PREFIX: &str = "flannel.alpha.coreos.com";

/// The annotations' names under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(String);

/// The prefix cannot begin an annotation's name.
#[derive(Debug, thiserror::Error)]
#[error(
    "annotation prefix {0:?}: it must look like net.example.com or net.example.com/name, in lower-case letters, digits, '-' and '_'"
)]
pub struct PrefixError(String);

impl Keys {
    /// The names under `--kube-annotation-prefix`: without a slash one is appended, with text behind it a dash.
    ///
    /// # Errors
    /// The prefix is none.
    pub fn new(prefix: &str) -> Result<Self, PrefixError> {
        let bad = || PrefixError(prefix.to_owned());
        let (domain, name) = prefix.split_once('/').unwrap_or((prefix, ""));
        let is_domain = !domain.is_empty() && domain.split('.').all(is_label);
        let is_name =
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !is_domain || !is_name {
            return Err(bad());
        }
        let dash = if name.is_empty() || name.ends_with('-') { "" } else { "-" };
        Ok(Self(format!("{domain}/{name}{dash}")))
    }

    /// A name that cannot be anybody else's, for objects of the kernel: nothing for the default prefix.
    pub fn instance(&self) -> Option<String> {
        let default = format!("{DEFAULT_PREFIX}/");
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        (self.0 != default).then(|| self.0.trim_end_matches(['/', '-']).chars().map(plain).collect())
    }

    /// Marks nodes of the network.
    pub fn managed(&self) -> String {
        self.key("kube-subnet-manager")
    }

    /// The backend's name.
    pub fn backend_type(&self) -> String {
        self.key("backend-type")
    }

    /// What a backend tells its peers.
    pub fn backend_data(&self, family: Family) -> String {
        self.key(if family == Family::V4 { "backend-data" } else { "backend-v6-data" })
    }

    /// The address that peers send to.
    pub fn public_ip(&self, family: Family) -> String {
        self.key(if family == Family::V4 { "public-ip" } else { "public-ipv6" })
    }

    /// The administrator's choice of what is written to [`Keys::public_ip`].
    pub fn public_ip_overwrite(&self, family: Family) -> String {
        self.key(if family == Family::V4 { "public-ip-overwrite" } else { "public-ipv6-overwrite" })
    }

    /// The administrator's choice of the node's own address.
    pub fn node_public_ip(&self, family: Family) -> String {
        self.key(if family == Family::V4 { "node-public-ip" } else { "node-public-ipv6" })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prefix() {
        let data = |prefix: &str| Keys::new(prefix).unwrap().backend_data(Family::V4);
        assert_eq!(data(DEFAULT_PREFIX), "flannel.alpha.coreos.com/backend-data");
        assert_eq!(data("net.acme.io/b"), "net.acme.io/b-backend-data");
        assert_eq!(data("net.acme.io/"), "net.acme.io/backend-data");
        for bad in ["", "/x", "Acme.io", "a/b/c", "a b", "-a.b", "a..b"] {
            assert!(Keys::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_other_prefixes_name_an_instance() {
        assert_eq!(Keys::new(DEFAULT_PREFIX).unwrap().instance(), None);
        assert_eq!(Keys::new("net.acme.io/b").unwrap().instance().as_deref(), Some("net.acme.io-b"));
    }
}
