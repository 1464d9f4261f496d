//! Policy routing rules.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, IfName};

/// A rule that sends matching packets to a table. Equality is identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which packets it sees.
    pub family: Family,
    /// Its place in the order, lowest first. Planners choose it: the kernel's own choice is not known beforehand.
    pub priority: u32,
    /// Source network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// Destination network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNet>,
    /// Incoming link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iif: Option<IfName>,
    /// Mark and mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<(u32, u32)>,
    /// The table to look in.
    pub table: u32,
}
