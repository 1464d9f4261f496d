//! The objects of a SpiderMultusConfig, one for each type.

use serde::{Deserialize, Serialize};

use crate::meta::or_default;

/// Pools that addresses come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IppoolNames {
    /// For SR-IOV: only pools whose subnet the physical function has an address in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_master_subnet: Option<bool>,
    /// Pools, in order; wildcards are allowed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<String>,
    /// Pools, in order; wildcards are allowed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<String>,
}

/// The guides' spelling of [`IppoolNames`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OldPools {
    /// Pools, in order.
    #[serde(rename = "IPv4IPPool", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<String>,
    /// Pools, in order.
    #[serde(rename = "IPv6IPPool", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<String>,
}

/// A bond of several masters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BondConfig {
    /// The bond's name.
    pub name: String,
    /// The bond's mode, 0 to 6.
    pub mode: i64,
    /// Options, `k=v;k=v`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

/// macvlan and ipvlan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MasterConfig {
    /// The node's interfaces; several need a bond.
    #[serde(deserialize_with = "or_default")]
    pub master: Vec<String>,
    /// MTU; 0 takes the master's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i64>,
    /// VLAN on the master; 0 for none.
    #[serde(rename = "vlanID", skip_serializing_if = "Option::is_none")]
    pub vlan_id: Option<i64>,
    /// How several masters are bonded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondConfig>,
    /// The RDMA resource that pods consume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_resource_name: Option<String>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
    /// The guides' spelling of `ippools`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiderpool_config_pools: Option<OldPools>,
}

/// vlan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VlanConfig {
    /// The node's interfaces; several need a bond.
    #[serde(deserialize_with = "or_default")]
    pub master: Vec<String>,
    /// `manual` (the id is given here) or `auto` (an external provider gives it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_mode: Option<String>,
    /// The VLAN id for `manual`.
    #[serde(rename = "vlanID", skip_serializing_if = "Option::is_none")]
    pub vlan_id: Option<i64>,
    /// MTU; 0 takes the master's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i64>,
    /// How several masters are bonded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondConfig>,
    /// The RDMA resource that pods consume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_resource_name: Option<String>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
}

/// sriov.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SriovConfig {
    /// The device resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// VLAN of the virtual function; 0 for none.
    #[serde(rename = "vlanID", skip_serializing_if = "Option::is_none")]
    pub vlan_id: Option<i64>,
    /// MTU; 0 leaves it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i64>,
    /// Lower bound of the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tx_rate_mbps: Option<i64>,
    /// Upper bound of the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tx_rate_mbps: Option<i64>,
    /// Whether the RDMA device moves into the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_isolation: Option<bool>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
    /// The spelling of `rdmaIsolation` up to release 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_rdma: Option<bool>,
}

/// ib-sriov.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IbSriovConfig {
    /// The device resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkey: Option<String>,
    /// `auto`, `enable` or `disable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<String>,
    /// Whether the RDMA device moves into the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_isolation: Option<bool>,
    /// Whether ib-kubernetes manages GUIDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ib_kubernetes: Option<bool>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
}

/// ipoib.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpoibConfig {
    /// The node's interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
}

/// ovs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OvsConfig {
    /// The bridge.
    pub bridge: String,
    /// VLAN of the port; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i64>,
    /// VLANs that the port carries.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub trunk: Vec<Trunk>,
    /// PCI address of a virtual function.
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Pools of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ippools: Option<IppoolNames>,
}

/// VLANs of a trunk: a range, or one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trunk {
    /// First of a range.
    #[serde(rename = "minID", skip_serializing_if = "Option::is_none")]
    pub min_id: Option<i64>,
    /// Last of a range.
    #[serde(rename = "maxID", skip_serializing_if = "Option::is_none")]
    pub max_id: Option<i64>,
    /// A single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
}
