//! A pool of addresses: what its spec says, and which of its addresses may be handed out.

use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::{Family, IntervalSet, IpNet, IpRange};

use crate::{Records, Selector, Texts};

/// A route that pods of a pool get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRoute {
    /// Destination.
    pub dst: IpNet,
    /// Next hop.
    pub gw: IpAddr,
}

/// `SpiderIPPool.spec` (spec/spiderpool.md 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The network that the addresses belong to.
    pub subnet: IpNet,
    /// The addresses, in the order listed.
    pub ips: Vec<IpRange>,
    /// Addresses that are not handed out.
    pub exclude_ips: Vec<IpRange>,
    /// The gateway of the network.
    pub gateway: Option<IpAddr>,
    /// Routes for its pods.
    pub routes: Vec<PoolRoute>,
    /// Which pods may use it.
    pub pod_affinity: Option<Selector>,
    /// Pods of which namespaces may use it, by label; not looked at if `namespace_names` says something.
    pub namespace_affinity: Option<Selector>,
    /// Pods on which nodes may use it, by label; not looked at if `node_names` says something.
    pub node_affinity: Option<Selector>,
    /// Pods of which namespaces may use it.
    pub namespace_names: Vec<String>,
    /// Pods on which nodes may use it.
    pub node_names: Vec<String>,
    /// Interfaces of which networks may use it, `namespace/name` or `name`.
    pub multus_names: Vec<String>,
    /// Serves pods that name no pool.
    pub default: bool,
    /// Serves nobody.
    pub disable: bool,
}

impl PoolSpec {
    /// A pool of a network with these addresses and nothing else.
    pub fn new(subnet: IpNet, ips: Vec<IpRange>) -> Self {
        Self {
            subnet,
            ips,
            exclude_ips: Vec::new(),
            gateway: None,
            routes: Vec::new(),
            pod_affinity: None,
            namespace_affinity: None,
            node_affinity: None,
            namespace_names: Vec::new(),
            node_names: Vec::new(),
            multus_names: Vec::new(),
            default: false,
            disable: false,
        }
    }

    /// Its family, which is that of the network.
    pub fn family(&self) -> Family {
        Family::of(self.subnet.addr())
    }

    /// The addresses less the excluded ones: `status.totalIPCount` is their number.
    pub fn addresses(&self) -> IntervalSet {
        let family = self.family();
        IntervalSet::of_ranges(family, &self.ips)
            .difference(&IntervalSet::of_ranges(family, &self.exclude_ips))
    }

    /// `status.totalIPCount`: cut at the largest number of the schema's type.
    pub fn total_count(&self) -> i64 {
        i64::try_from(self.addresses().count()).unwrap_or(i64::MAX)
    }

    /// An address with the prefix length of the network.
    pub fn with_prefix(&self, ip: IpAddr) -> IpNet {
        // A prefix length that a network of this family has is one that its addresses may have.
        IpNet::new(ip, self.subnet.prefix_len().min(Family::of(ip).bits())).unwrap_or(self.subnet)
    }
}

/// A pool as it was read from the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `metadata.resourceVersion`, opaque.
    pub resource_version: String,
    /// Labels: automatic pools are known by them.
    pub labels: Texts,
    /// It has a deletionTimestamp.
    pub terminating: bool,
    /// What it offers.
    pub spec: Arc<PoolSpec>,
    /// Who holds what.
    pub records: Records,
}

impl Pool {
    /// A pool as the API server has it just after its creation.
    pub fn new(name: impl Into<String>, spec: PoolSpec) -> Self {
        Self {
            name: name.into(),
            resource_version: "1".to_owned(),
            labels: Texts::new(),
            terminating: false,
            spec: Arc::new(spec),
            records: Records::default(),
        }
    }

    /// Numbers for people and metrics.
    pub fn usage(&self) -> Usage {
        Usage {
            total: self.spec.total_count(),
            allocated: i64::try_from(self.records.count()).unwrap_or(i64::MAX),
        }
    }
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// `status.totalIPCount`.
    pub total: i64,
    /// `status.allocatedIPCount`.
    pub allocated: i64,
}

/// `SpiderReservedIP`: addresses that no pool hands out (2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedIp {
    /// Its name.
    pub name: String,
    /// The addresses.
    pub ips: Vec<IpRange>,
    /// It has a deletionTimestamp: it reserves no longer.
    pub terminating: bool,
}

/// All addresses of a family that live objects reserve.
pub fn reserved(family: Family, objects: &[ReservedIp]) -> IntervalSet {
    let live = objects.iter().filter(|object| !object.terminating);
    IntervalSet::of_ranges(family, live.flat_map(|object| &object.ips))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IpRange> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pool_offers_what_is_not_excluded() {
        let mut spec = PoolSpec::new("10.9.0.0/16".parse().unwrap(), ranges(&["10.9.0.1-10.9.0.9"]));
        spec.exclude_ips = ranges(&["10.9.0.2-10.9.0.3", "10.9.1.0"]);
        assert_eq!(spec.total_count(), 7);
        assert_eq!(spec.with_prefix("10.9.0.4".parse().unwrap()).to_string(), "10.9.0.4/16");
    }

    #[test]
    fn a_vast_pool_is_counted_at_once_and_saturates() {
        let ips = ranges(&["fd00::-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
        assert_eq!(PoolSpec::new("fd00::/16".parse().unwrap(), ips).total_count(), i64::MAX);
    }

    #[test]
    fn a_reservation_that_is_deleted_reserves_no_longer() {
        let of = |terminating| ReservedIp {
            name: "r".to_owned(),
            ips: ranges(&["10.9.0.1", "fd00::1"]),
            terminating,
        };
        assert_eq!(reserved(Family::V4, &[of(false)]).to_texts(), ["10.9.0.1"]);
        assert!(reserved(Family::V6, &[of(true)]).is_empty());
    }
}
