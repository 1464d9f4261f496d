//! The objects of a cluster as far as they are checked, in plain values.

use std::net::IpAddr;

use polynic_net::{IpNet, IpRange};

/// What was read from the API server.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Pools.
    pub pools: Vec<Pool>,
    /// SpiderSubnets.
    pub subnets: Vec<Subnet>,
    /// Reserved addresses.
    pub reserved: Vec<Reserved>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Pods that use, or may come to use, pool addresses. Others may be left out unless an endpoint or record names them.
    pub pods: Vec<Pod>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its network.
    pub subnet: IpNet,
    /// The addresses it lists.
    pub ips: Vec<IpRange>,
    /// Those that it leaves out.
    pub exclude_ips: Vec<IpRange>,
    /// The SpiderSubnet that controls it.
    pub owner: Option<String>,
    /// The records of its status.
    pub records: Vec<Record>,
    /// `totalIPCount`, if set.
    pub total: Option<i64>,
    /// `allocatedIPCount`, if set.
    pub allocated: Option<i64>,
}

/// One record of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The address.
    pub ip: IpAddr,
    /// `namespace/name` of the pod, or of the virtual machine.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// The interface, if recorded.
    pub nic: Option<String>,
}

/// A SpiderSubnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its name.
    pub name: String,
    /// The addresses it lists.
    pub ips: Vec<IpRange>,
    /// Those that it leaves out.
    pub exclude_ips: Vec<IpRange>,
}

/// A SpiderReservedIP.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// Its name.
    pub name: String,
    /// The addresses.
    pub ips: Vec<IpRange>,
}

/// A SpiderEndpoint.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// `namespace/name`.
    pub key: String,
    /// UID of the pod.
    pub uid: String,
    /// Its addresses are to outlive the pod (no owner reference to it).
    pub fixed: bool,
    /// Its addresses.
    pub addresses: Vec<EndpointAddress>,
}

/// An address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointAddress {
    /// The interface; empty if none has taken it yet.
    pub nic: String,
    /// The pool.
    pub pool: String,
    /// The address.
    pub ip: IpAddr,
}

/// A pod.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// `namespace/name`.
    pub key: String,
    /// Name of its endpoint and records, if it is not the pod's: `namespace/name` of the virtual machine.
    pub recorded_as: Option<String>,
    /// UID.
    pub uid: String,
    /// It has the node's network, and so uses the node's addresses.
    pub host_network: bool,
    /// It is being deleted: what its endpoint says and no pool confirms is a leftover.
    pub leaving: bool,
    /// It has succeeded or failed.
    pub ended: bool,
    /// Addresses that it uses, as seen in its namespace or in its podIPs, of those that a pool of ours hands out. Empty if
    /// that was not looked at.
    pub in_use: Vec<IpAddr>,
    /// Rows of its network-status annotation; empty if it has none.
    pub network_status: Vec<NetworkStatus>,
}

/// One row of a network-status annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkStatus {
    /// The interface in the pod.
    pub nic: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

impl Pod {
    /// The name under which its addresses are recorded.
    pub fn record_key(&self) -> &str {
        self.recorded_as.as_deref().unwrap_or(&self.key)
    }
}
