//! SpiderCoordinator: how pods' networks are tied together, and the cluster's CIDRs (spec/spiderpool.md 2.5).

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::spider::{Object, Route, SpiderKind};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coordinator;

/// The cluster's coordination of pod networks; exactly one object is used.
pub type SpiderCoordinator = Object<Coordinator>;

impl SpiderKind for Coordinator {
    const KIND: &'static str = "SpiderCoordinator";
    const PLURAL: &'static str = "spidercoordinators";
    const SINGULAR: &'static str = "spidercoordinator";
    const SHORT_NAME: &'static str = "scc";
    const NAMESPACED: bool = false;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spidercoordinators.yaml");
    type Spec = CoordinatorSpec;
    type Status = CoordinatorStatus;
}

/// The object that is used unless the controller is told another name.
pub const DEFAULT_NAME: &str = "default";

/// Values of `status.phase`.
pub mod phase {
    /// The CIDRs of the status are those of the cluster.
    pub const SYNCED: &str = "Synced";
    /// They are not known; `reason` says why.
    pub const NOT_READY: &str = "NotReady";
}

/// How pods' networks are tied together; also the `coordinator` block of a SpiderMultusConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoordinatorSpec {
    /// `auto`, `underlay`, `overlay` or `disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Where pod CIDRs come from: `auto`, `cluster`, `calico`, `cilium` or `none`.
    #[serde(rename = "podCIDRType", skip_serializing_if = "Option::is_none")]
    pub pod_cidr_type: Option<String>,
    /// Further destinations that go by the node.
    #[serde(rename = "hijackCIDR", skip_serializing_if = "Option::is_none")]
    pub hijack_cidr: Option<Vec<String>>,
    /// Routes beside the ones that coordination makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_routes: Option<Vec<Route>>,
    /// First two octets of pods' MACs, `0a:1b`; empty leaves MACs alone.
    #[serde(rename = "podMACPrefix", skip_serializing_if = "Option::is_none")]
    pub pod_mac_prefix: Option<String>,
    /// Whether routes of pods with several interfaces are arranged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune_pod_routes: Option<bool>,
    /// The interface of the pod's default route.
    #[serde(rename = "podDefaultRouteNIC", skip_serializing_if = "Option::is_none")]
    pub pod_default_route_nic: Option<String>,
    /// The node's routing table for routes to pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rule_table: Option<i64>,
    /// `rp_filter` of pods' interfaces; negative leaves it alone.
    #[serde(rename = "podRPFilter", skip_serializing_if = "Option::is_none")]
    pub pod_rp_filter: Option<i64>,
    /// Transmit queue length of the pod's interface; 0 leaves it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_queue_len: Option<i64>,
    /// Link-local address of the pod's veth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub veth_link_address: Option<String>,
    /// MTU of the pod's veth.
    #[serde(rename = "vethMTU", skip_serializing_if = "Option::is_none")]
    pub veth_mtu: Option<i64>,
    /// Written by releases up to 0.9; read and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_gateway: Option<bool>,
    /// Written by releases up to 0.9; read and ignored.
    #[serde(rename = "detectIPConflict", skip_serializing_if = "Option::is_none")]
    pub detect_ip_conflict: Option<bool>,
    /// Written by releases up to 0.9; read and ignored.
    #[serde(rename = "hostRPFilter", skip_serializing_if = "Option::is_none")]
    pub host_rp_filter: Option<i64>,
    /// The guides' spelling of `mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune_mode: Option<String>,
    /// Only of a SpiderCoordinator, and beyond the replaced program: where pods live, for clusters that do not say so themselves.
    #[serde(rename = "overlayPodCIDR", skip_serializing_if = "Option::is_none")]
    pub overlay_pod_cidr: Option<Vec<String>>,
    /// Only of a SpiderCoordinator, and beyond the replaced program: where Services live, for clusters that do not say so themselves.
    #[serde(rename = "serviceCIDR", skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<Vec<String>>,
}

/// The cluster's CIDRs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoordinatorStatus {
    /// See [`phase`].
    pub phase: String,
    /// Why the phase is not `Synced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where pods of the default network live.
    #[serde(
        rename = "overlayPodCIDR",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub overlay_pod_cidr: Vec<String>,
    /// Where Services live.
    #[serde(rename = "serviceCIDR", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub service_cidr: Vec<String>,
}
