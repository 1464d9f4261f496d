//! Keys of annotations of SpiderMultusConfigs, and of those that more than the allocator reads (spec/spiderpool.md 6).
//!
//! Those that say which pools a pod wants are `polynic_ipam::annotation`'s, with their values.

use std::collections::BTreeMap;

/// On a pod: the interface of the default route.
pub const DEFAULT_ROUTE_NIC: &str = "ipam.spidernet.io/default-route-nic";
/// On a SpiderMultusConfig: the NAD's name.
pub const CR_NAME: &str = "multus.spidernet.io/cr-name";
/// On a SpiderMultusConfig: the CNI version of the NAD.
pub const CNI_VERSION: &str = "multus.spidernet.io/cni-version";
/// On a SpiderMultusConfig: the name inside of the NAD's configuration.
pub const CNICONFIG_NAME: &str = "cni.spidernet.io/cniconfig-name";
/// On a SpiderMultusConfig, a pod or a namespace: group of RDMA networks to inject.
pub const RDMA_RESOURCE_INJECT: &str = "cni.spidernet.io/rdma-resource-inject";
/// On a SpiderMultusConfig, a pod or a namespace: group of networks to inject.
pub const NETWORK_RESOURCE_INJECT: &str = "cni.spidernet.io/network-resource-inject";

/// Annotations as objects carry them.
pub type Annotations = BTreeMap<String, String>;
