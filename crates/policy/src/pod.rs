//! Pods as far as policies look at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PodKey {
    /// A pod by namespace and name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod that has secondary networks, or is about to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// What tells it from an earlier pod of the same name.
    pub uid: String,
    /// The version of the object that this was read from; 0 if unknown.
    pub version: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The node it runs on, or empty.
    pub node: String,
    /// It uses the node's network, and so has none of its own.
    pub host_network: bool,
    /// It has ended (phase Succeeded or Failed): its addresses are nobody's, or will be.
    pub ended: bool,
    /// It is being deleted: its namespace may be gone before it is.
    pub leaving: bool,
    /// It selects networks (annotation `k8s.v1.cni.cncf.io/networks`).
    pub selects_networks: bool,
    /// Its attachments but for the default network, from the network status.
    pub attachments: Vec<Attachment>,
    /// The ports that its containers declare.
    pub ports: Vec<ContainerPort>,
}

impl Pod {
    /// Whether policies can be about it, or it can be a peer.
    pub(crate) fn matters(&self) -> bool {
        !self.host_network && (self.selects_networks || !self.attachments.is_empty())
    }

    /// Its addresses on some networks.
    pub(crate) fn addresses<'a>(
        &'a self,
        networks: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let on = self.attachments.iter().filter(|attachment| networks.contains(&attachment.network));
        on.flat_map(|attachment| attachment.addresses.iter().copied())
    }
}

/// A pod's interface on a secondary network.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The network, `namespace/name` of its NAD.
    pub network: String,
    /// The interface in the pod; empty if it has no link there (as with DPDK).
    pub interface: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Its name.
    pub name: String,
    /// Protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}
