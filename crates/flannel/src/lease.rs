//! Who has which subnet: leases, read from nodes as plain values (spec/flannel.md 5).

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::{Family, IpNet, Mac};
use serde::Deserialize;

use crate::desired::{IPIP, device_name};
use crate::family::BOTH;
use crate::wireguard::{TUNNEL, TUNNEL_V6};
use crate::{Backend, Keys, NetConf, PerFamily, WireguardEnd};

/// A node of the cluster, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.podCIDRs`, else the one `spec.podCIDR`.
    pub pod_cidrs: Vec<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Another node's subnets and where its packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The node's name.
    pub node: String,
    /// What it has per family.
    pub endpoints: PerFamily<Endpoint>,
}

/// One family of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node's subnet.
    pub subnet: IpNet,
    /// The address to send to.
    pub public: IpAddr,
    /// The hardware address of the node's tunnel, where the backend has one.
    pub vtep: Option<Mac>,
    /// The node's tunnel, where the backend is WireGuard.
    pub wireguard: Option<WireguardEnd>,
}

/// Why a node's lease, or one family of it, is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseProblem {
    /// It uses another backend.
    #[error("node {node} uses backend {theirs:?}, this one {ours:?}: it is ignored")]
    OtherBackend {
        /// The node.
        node: String,
        /// Its backend.
        theirs: String,
        /// This node's.
        ours: &'static str,
    },
    /// It has no subnet of a family that is on.
    #[error("node {node} has no {family} podCIDR")]
    NoSubnet {
        /// The node.
        node: String,
        /// The family.
        family: Family,
    },
    /// An annotation is missing or cannot be read.
    #[error("node {node}: annotation {key} is {value:?}, which is no {expected}")]
    Annotation {
        /// The node.
        node: String,
        /// The annotation.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
struct VxlanData {
    #[serde(rename = "VNI")]
    vni: Option<u32>,
    #[serde(rename = "VtepMAC")]
    vtep_mac: Mac,
}

impl Lease {
    /// The lease of a node with all that is wrong with it. Nodes that are none of the network's have none.
    pub fn of(node: &Node, keys: &Keys, conf: &NetConf) -> (Option<Self>, Vec<LeaseProblem>) {
        if node.annotations.get(&keys.managed()).map(String::as_str) != Some("true") {
            return (None, Vec::new());
        }
        let theirs = node.annotations.get(&keys.backend_type()).cloned().unwrap_or_default();
        let ours = conf.backend.name();
        if theirs != ours {
            return (None, vec![LeaseProblem::OtherBackend { node: node.name.clone(), theirs, ours }]);
        }
        let (mut endpoints, mut problems) = (PerFamily::default(), Vec::new());
        for family in conf.networks.families() {
            match endpoint(node, keys, &conf.backend, family) {
                Ok(endpoint) => endpoints.set(family, Some(endpoint)),
                Err(problem) => problems.push(problem),
            }
        }
        let lease = Self { node: node.name.clone(), endpoints };
        ((!lease.endpoints.is_empty()).then_some(lease), problems)
    }
}

fn endpoint(node: &Node, keys: &Keys, backend: &Backend, family: Family) -> Result<Endpoint, LeaseProblem> {
    let missing = || LeaseProblem::NoSubnet { node: node.name.clone(), family };
    let subnet = subnet_of(node, family).ok_or_else(missing)?;
    let read = |text: &str| address_of(text, family);
    let public = annotation(node, keys.public_ip(family), "address of a host", read)?;
    let (mut vtep, mut wireguard) = (None, None);
    match backend {
        Backend::Vxlan(_) => vtep = Some(annotation(node, keys.backend_data(family), "VXLAN data", vtep_of)?),
        Backend::Wireguard(_) => {
            let end = annotation(node, keys.backend_data(family), "WireGuard data", WireguardEnd::parse)?;
            wireguard = Some(end);
        }
        Backend::HostGw | Backend::Ipip { .. } => {}
    }
    Ok(Endpoint { subnet, public, vtep, wireguard })
}

fn annotation<T>(
    node: &Node,
    key: String,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, LeaseProblem> {
    let value = node.annotations.get(&key).cloned().unwrap_or_default();
    match read(&value) {
        Some(read) => Ok(read),
        None => Err(LeaseProblem::Annotation { node: node.name.clone(), key, value, expected }),
    }
}

/// The hardware address in a backend's data: of one link, because one of a group, or none at all, would be flooded.
pub(crate) fn vtep_of(text: &str) -> Option<Mac> {
    let mac = serde_json::from_str::<VxlanData>(text).ok()?.vtep_mac;
    (mac.0[0] & 1 == 0 && mac.0 != [0; 6]).then_some(mac)
}

/// An address of a family that a host can have.
fn address_of(text: &str, family: Family) -> Option<IpAddr> {
    let is_hosts = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast());
    text.parse().ok().filter(is_hosts).filter(|ip| Family::of(*ip) == family)
}

/// The tunnels of the configuration that the node had when it announced itself last.
fn announced_tunnels(node: &Node, keys: &Keys) -> Vec<String> {
    match node.annotations.get(&keys.backend_type()).map(String::as_str) {
        Some("ipip") => vec![IPIP.to_owned()],
        Some("wireguard") => vec![TUNNEL.to_owned(), TUNNEL_V6.to_owned()],
        Some("vxlan") => BOTH
            .into_iter()
            .filter_map(|family| {
                let data = node.annotations.get(&keys.backend_data(family))?;
                let data: VxlanData = serde_json::from_str(data).ok()?;
                Some(device_name(data.vni?, family))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A node's subnet of a family.
pub(crate) fn subnet_of(node: &Node, family: Family) -> Option<IpNet> {
    let nets = node.pod_cidrs.iter().filter_map(|text| text.parse::<IpNet>().ok());
    nets.map(|net| net.trunc()).find(|net| Family::of(net.addr()) == family)
}

/// This node's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its name.
    pub node: String,
    /// Its subnets, one for each family of the network.
    pub subnets: PerFamily<IpNet>,
    /// The hardware addresses that its tunnels had before.
    pub vteps: PerFamily<Mac>,
    /// The administrator's choice of its own addresses.
    pub node_public: PerFamily<IpAddr>,
    /// The administrator's choice of the addresses that are announced.
    pub announced: PerFamily<String>,
    /// Names of the tunnels that it announced last, which may have been another configuration's.
    pub tunnels: Vec<String>,
    /// Annotations of the administrator's that cannot be read.
    pub problems: Vec<LeaseProblem>,
}

/// Why this node has no part in the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// The cluster has given it no subnet.
    #[error("node {node}: {family} pod cidr not assigned (spec.podCIDRs is {found:?})")]
    NotAssigned {
        /// The node.
        node: String,
        /// The family.
        family: Family,
        /// What there is.
        found: Vec<String>,
    },
    /// Its subnet is not of the network.
    #[error("node {node}: podCIDR {subnet} is not inside the network {network} of net-conf.json")]
    Outside {
        /// The node.
        node: String,
        /// Its subnet.
        subnet: IpNet,
        /// The network.
        network: IpNet,
    },
    /// More than one subnet per family.
    #[error("node {node} has {count} podCIDRs, at most one per family can be used")]
    TooMany {
        /// The node.
        node: String,
        /// How many.
        count: usize,
    },
}

impl Own {
    /// Reads the own node.
    ///
    /// # Errors
    /// See [`OwnError`]: the cluster must hand out podCIDRs that lie in the network.
    pub fn of(node: &Node, keys: &Keys, conf: &NetConf) -> Result<Self, OwnError> {
        if node.pod_cidrs.len() > 2 {
            return Err(OwnError::TooMany { node: node.name.clone(), count: node.pod_cidrs.len() });
        }
        let mut subnets = PerFamily::default();
        for (family, network) in conf.networks.iter() {
            subnets.set(family, Some(own_subnet(node, family, *network)?));
        }
        let text = |key: String| node.annotations.get(&key).filter(|text| !text.is_empty()).cloned();
        let each = |key: fn(&Keys, Family) -> String| -> PerFamily<String> {
            BOTH.into_iter().filter_map(|family| Some((family, text(key(keys, family))?))).collect()
        };
        let vteps = each(Keys::backend_data);
        let (mut node_public, mut problems) = (PerFamily::default(), Vec::new());
        for (family, value) in each(Keys::node_public_ip).iter() {
            node_public.set(family, address_of(value, family));
            if node_public.get(family).is_none() {
                let (node, key) = (node.name.clone(), keys.node_public_ip(family));
                let (value, expected) = (value.clone(), "address of a host");
                problems.push(LeaseProblem::Annotation { node, key, value, expected });
            }
        }
        Ok(Self {
            node: node.name.clone(),
            subnets,
            vteps: vteps.iter().filter_map(|(family, text)| Some((family, vtep_of(text)?))).collect(),
            node_public,
            announced: each(Keys::public_ip_overwrite),
            tunnels: announced_tunnels(node, keys),
            problems,
        })
    }
}

fn own_subnet(node: &Node, family: Family, network: IpNet) -> Result<IpNet, OwnError> {
    let unassigned =
        || OwnError::NotAssigned { node: node.name.clone(), family, found: node.pod_cidrs.clone() };
    let subnet = subnet_of(node, family).ok_or_else(unassigned)?;
    if !network.contains(&subnet) {
        return Err(OwnError::Outside { node: node.name.clone(), subnet, network });
    }
    Ok(subnet)
}

/// What this node tells its peers, as annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Public addresses per family.
    pub public: PerFamily<IpAddr>,
    /// The tunnels' hardware addresses, where the backend has tunnels.
    pub vteps: PerFamily<Mac>,
    /// The tunnels, where the backend is WireGuard and they are there.
    pub wireguard: PerFamily<WireguardEnd>,
}

impl Announcement {
    /// The annotations that the own node must have.
    pub fn annotations(&self, own: &Own, keys: &Keys, conf: &NetConf) -> BTreeMap<String, String> {
        let mut wanted = BTreeMap::from([
            (keys.managed(), "true".to_owned()),
            (keys.backend_type(), conf.backend.name().to_owned()),
        ]);
        for (family, public) in self.public.iter() {
            let data = match &conf.backend {
                // The order of keys is part of the contract.
                Backend::Vxlan(vxlan) => {
                    let vtep = self.vteps.get(family);
                    vtep.map(|mac| format!(r#"{{"VNI":{},"VtepMAC":"{mac}"}}"#, vxlan.vni))
                }
                Backend::Wireguard(_) => self.wireguard.get(family).map(WireguardEnd::data),
                Backend::HostGw | Backend::Ipip { .. } => Some("null".to_owned()),
            };
            // Without a tunnel there is nothing to send to.
            let Some(data) = data else { continue };
            wanted.insert(keys.backend_data(family), data);
            let announced = own.announced.get(family).cloned();
            wanted.insert(keys.public_ip(family), announced.unwrap_or_else(|| public.to_string()));
        }
        wanted
    }
}

#[cfg(test)]
mod tests;
