//! Kernel settings below /proc/sys/net.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::IfName;

/// The path of a setting below `/proc/sys`, always under `net/`, with `/` between its parts so that interface names
/// may hold dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SysctlKey(String);

/// The path does not stay below `/proc/sys/net`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid net sysctl key: {0:?}")]
pub struct SysctlKeyError(String);

impl SysctlKey {
    /// Checks that the path stays below `net/`.
    pub fn new(path: impl Into<String>) -> Result<Self, SysctlKeyError> {
        let path = path.into();
        let mut parts = path.split('/');
        let under_net = parts.next() == Some("net") && parts.clone().next().is_some();
        if under_net && parts.all(|p| !p.is_empty() && p != "." && p != ".." && !p.contains('\0')) {
            Ok(Self(path))
        } else {
            Err(SysctlKeyError(path))
        }
    }

    /// A setting of one interface, `net/ipv4/conf/<link>/<setting>` for `family` = `ipv4`.
    pub fn conf(family: &str, link: &IfName, setting: &str) -> Self {
        Self(format!("net/{family}/conf/{link}/{setting}"))
    }

    /// `net.ipv4.conf.<link>.rp_filter`; `link` may also be `all` or `default`, which no link is called.
    pub fn rp_filter(link: &IfName) -> Self {
        Self::conf("ipv4", link, "rp_filter")
    }

    /// `net.ipv4.ip_forward`.
    pub fn ip_forward() -> Self {
        Self("net/ipv4/ip_forward".to_owned())
    }

    /// `net.ipv6.conf.all.forwarding`.
    pub fn ipv6_forwarding() -> Self {
        Self("net/ipv6/conf/all/forwarding".to_owned())
    }

    /// The path below `/proc/sys`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this setting of some interface, or of all or new ones.
    pub fn is_setting(&self, family: &str, setting: &str) -> bool {
        let parts: Vec<&str> = self.0.split('/').collect();
        matches!(parts[..], ["net", of, "conf", _, name] if of == family && name == setting)
    }

    /// Whether the setting belongs to the interface and therefore vanishes with it.
    pub fn belongs_to(&self, link: &IfName) -> bool {
        let mut parts = self.0.split('/').skip(2);
        matches!(parts.next(), Some("conf" | "neigh")) && parts.next() == Some(link.as_str())
    }
}

impl TryFrom<String> for SysctlKey {
    type Error = SysctlKeyError;
    fn try_from(path: String) -> Result<Self, SysctlKeyError> {
        Self::new(path)
    }
}

impl From<SysctlKey> for String {
    fn from(key: SysctlKey) -> Self {
        key.0
    }
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting with its value, without trailing newline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Which setting.
    pub key: SysctlKey,
    /// Its value as text.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_net() {
        for bad in
            ["", "net", "net/", "kernel/panic", "net/../kernel/panic", "net//x", "/net/ipv4", "net/./x"]
        {
            assert!(SysctlKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(SysctlKey::new("net/ipv4/conf/eth0.5/rp_filter").is_ok());
    }

    #[test]
    fn a_key_of_a_link_vanishes_with_that_link_only() {
        let link = IfName::new("eth0.5").unwrap();
        let other = IfName::new("eth0").unwrap();
        let key = SysctlKey::conf("ipv6", &link, "accept_dad");
        assert!(key.belongs_to(&link));
        assert!(!key.belongs_to(&other));
        assert!(!SysctlKey::ip_forward().belongs_to(&other));
    }
}
