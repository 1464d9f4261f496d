//! What `coordinator` asks the agent.

use serde::{Deserialize, Serialize};

/// A pod, as requests name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodIdentity {
    /// Namespace.
    pub pod_namespace: String,
    /// Name.
    pub pod_name: String,
}

/// Answer of `GET /coordinator/config`: the SpiderCoordinator object with the CIDRs of its status. Of what is
/// not [`CoordinatorConfig::REQUIRED`], absent is empty, or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoordinatorConfig {
    /// auto, underlay, overlay or disabled.
    pub mode: String,
    /// CIDRs of the cluster's pod network.
    #[serde(rename = "overlayPodCIDR")]
    pub overlay_pod_cidr: Vec<String>,
    /// CIDRs of services.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Vec<String>,
    /// Whether the pod's routes are to be tuned.
    pub tune_pod_routes: bool,
    /// CIDRs that go through the node as well.
    #[serde(rename = "hijackCIDR", default, skip_serializing_if = "Vec::is_empty")]
    pub hijack_cidr: Vec<String>,
    /// Further routes of the pod's own tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_routes: Vec<PolicyRoute>,
    /// Two octets that the MAC of the interface begins with, or empty.
    #[serde(rename = "podMACPrefix", default, skip_serializing_if = "String::is_empty")]
    pub pod_mac_prefix: String,
    /// The interface that keeps the default route: the pod's annotation, else the object's; or empty.
    #[serde(rename = "podDefaultRouteNIC", default, skip_serializing_if = "String::is_empty")]
    pub pod_default_route_nic: String,
    /// Number of the node's table.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub host_rule_table: i64,
    /// 0, 1, 2, or negative for "leave it".
    #[serde(rename = "podRPFilter", default, skip_serializing_if = "super::is_zero")]
    pub pod_rp_filter: i64,
    /// 0 for "leave it".
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub tx_queue_len: i64,
    /// An address for the veth between pod and node, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub veth_link_address: String,
    /// Bytes; 0 if unset.
    #[serde(rename = "vethMTU", default, skip_serializing_if = "super::is_zero")]
    pub veth_mtu: i64,
}

impl CoordinatorConfig {
    /// The keys that every answer has: an agent that does not say what the cluster's networks are is not understood as one that says that there
    /// are none (spec/coordinator.md 4.1).
    pub const REQUIRED: [&str; 4] = ["mode", "overlayPodCIDR", "serviceCIDR", "tunePodRoutes"];
}

/// One of [`CoordinatorConfig::policy_routes`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRoute {
    /// Destination, address or CIDR.
    pub dst: String,
    /// Next hop.
    pub gw: String,
}
