//! The result of ADD (spec/cni.md 4): one canonical form in memory, read from and printed as any version.
//!
//! What the older forms say and the canonical one does not is recomputed on printing: the `version` of an
//! address is its family, and the 0.1/0.2 form takes the first address of each family.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::version::Version;

mod address;
mod print;
mod read;

pub use address::{go_ip, go_net, parse_ip, parse_net};

/// What an attachment looks like: the result of ADD, or a prevResult.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// The version it was read as, or is to be printed as by default.
    pub cni_version: Version,
    /// Links in the pod and on the host. IPAM results have none.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes of the pod.
    pub routes: Vec<Route>,
    /// Name service for the pod.
    pub dns: Dns,
}

/// One link that a plugin made or took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name in its namespace.
    pub name: String,
    /// Hardware address as text, or empty.
    pub mac: String,
    /// Bytes; absent and 0 are the same.
    pub mtu: Option<u32>,
    /// Path of the namespace; empty for a link on the host.
    pub sandbox: String,
    /// Path of a socket that belongs to the link (1.1.0), or empty.
    #[serde(rename = "socketPath")]
    pub socket_path: String,
    /// Address of the PCI device behind the link (1.1.0), or empty.
    #[serde(rename = "pciID")]
    pub pci_id: String,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Index into [`Success::interfaces`]; absent in IPAM results.
    pub interface: Option<usize>,
    /// Address and prefix length; the host bits are the address.
    pub address: IpNet,
    /// The gateway of its network.
    pub gateway: Option<IpAddr>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; host bits are kept as written.
    pub dst: IpNet,
    /// Next hop; absent means the gateway of the first address of the family.
    pub gw: Option<IpAddr>,
    /// Bytes; 0 is read as absent.
    pub mtu: Option<u32>,
    /// TCP segment size to advertise, bytes; 0 is read as absent.
    pub advmss: Option<u32>,
    /// Metric; 0 is read as absent.
    pub priority: Option<u32>,
    /// Routing table; 0 is not the same as absent.
    pub table: Option<u32>,
    /// Kernel scope number (rtnetlink.h `RT_SCOPE_*`); 0 (global) is not the same as absent.
    pub scope: Option<u8>,
}

/// Name service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Default for Success {
    fn default() -> Success {
        Success {
            cni_version: Version::NEWEST,
            interfaces: Vec::new(),
            ips: Vec::new(),
            routes: Vec::new(),
            dns: Dns::default(),
        }
    }
}

impl Ip {
    /// An address without interface and gateway.
    pub fn new(address: IpNet) -> Ip {
        Ip { interface: None, address, gateway: None }
    }
}

impl Route {
    /// A route with nothing but destination and next hop.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Route {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

impl Dns {
    /// Nothing said at all.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

#[cfg(test)]
mod tests;
