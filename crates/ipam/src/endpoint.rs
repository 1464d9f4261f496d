//! `SpiderEndpoint`: the record of one pod's addresses (spec/spiderpool.md 2.4).

use std::net::IpAddr;

use polynic_net::{Family, IpNet};

use crate::{PodKey, PoolRoute};

/// The record of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Namespace and name: the pod's, or the virtual machine's.
    pub key: PodKey,
    /// UID of the object, empty before it is created.
    pub object_uid: String,
    /// `metadata.resourceVersion`, empty before it is created.
    pub resource_version: String,
    /// It has a deletionTimestamp: it only waits for the finalizer.
    pub terminating: bool,
    /// `status.current.uid`: the pod's UID.
    pub uid: String,
    /// `status.current.node`.
    pub node: String,
    /// `status.current.ips`.
    pub interfaces: Vec<EndpointInterface>,
    /// `status.ownerControllerType`: kind of the pod's top controller.
    pub owner_kind: String,
    /// `status.ownerControllerName`.
    pub owner_name: String,
    /// Whether it has, or is to get, an owner reference to the pod. Fixed addresses have none, so that the
    /// endpoint outlives the pod.
    pub owned_by_pod: bool,
}

impl Endpoint {
    /// What is recorded for an interface.
    pub fn interface(&self, nic: &str) -> Option<&EndpointInterface> {
        self.interfaces.iter().find(|entry| entry.nic == nic)
    }

    /// The entry that an ADD or DEL of this interface means: its own, or else the first without a name, which
    /// `ippools` without interface names leaves behind for those to come (7.2).
    pub fn entry_for(&self, nic: &str) -> Option<&EndpointInterface> {
        self.interface(nic).or_else(|| self.interface(""))
    }

    /// All (pool, address) pairs, with the interface.
    pub fn holdings(&self) -> impl Iterator<Item = Holding<'_>> {
        self.interfaces.iter().flat_map(EndpointInterface::holdings)
    }
}

/// An address and the pool it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding<'a> {
    /// The interface.
    pub nic: &'a str,
    /// The pool's name.
    pub pool: &'a str,
    /// The address.
    pub ip: IpAddr,
}

/// The addresses of one interface: an item of `status.current.ips`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointInterface {
    /// Name in the pod; empty until an ADD takes it (7.2, unnamed `ippools`).
    pub nic: String,
    /// Address and pool of the IPv4 family.
    pub ipv4: Option<Assigned>,
    /// Address and pool of the IPv6 family.
    pub ipv6: Option<Assigned>,
    /// `vlan`; 0 is none.
    pub vlan: i64,
    /// Suppresses the default route. Written only when a pool has a gateway.
    pub clean_gateway: Option<bool>,
    /// Routes for this interface, without the default route by the gateway.
    pub routes: Vec<PoolRoute>,
    /// `mac`, only set by an external provider.
    pub mac: Option<String>,
}

impl EndpointInterface {
    /// Address and pool of a family.
    pub fn assigned(&self, family: Family) -> Option<&Assigned> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }

    /// Its addresses, IPv4 first.
    pub fn all_assigned(&self) -> impl Iterator<Item = &Assigned> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    fn holdings(&self) -> impl Iterator<Item = Holding<'_>> {
        self.all_assigned().map(|own| Holding { nic: &self.nic, pool: &own.pool, ip: own.address.addr() })
    }
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address with the prefix length of its network.
    pub address: IpNet,
    /// The pool it is from.
    pub pool: String,
    /// The gateway of its network.
    pub gateway: Option<IpAddr>,
}
