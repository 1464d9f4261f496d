//! Sources of firewalld's zones.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Packets from these addresses are treated as a zone of firewalld says. In its running configuration only: the daemon forgets
/// it when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneSource {
    /// The zone's name, as in `trusted`.
    pub zone: String,
    /// The addresses.
    pub source: IpNet,
}

impl fmt::Display for ZoneSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to firewalld's zone {}", self.source, self.zone)
    }
}
