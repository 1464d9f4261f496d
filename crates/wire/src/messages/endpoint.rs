//! What an `vlan` interface in automatic mode, or anybody else, asks about a pod's addresses.

use serde::{Deserialize, Serialize};

use super::PolicyRoute;

/// Answer of `GET /workloadendpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadEndpoint {
    /// The pod.
    pub pod_namespace: String,
    /// The pod.
    pub pod_name: String,
    /// The pod's UID.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The node.
    pub node: String,
    /// What each of the pod's interfaces holds.
    pub interfaces: Vec<EndpointInterface>,
}

/// One interface of a [`WorkloadEndpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointInterface {
    /// Its name.
    pub interface: String,
    /// `address/prefix length`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// `address/prefix length`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    /// Pool of the IPv4 address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv4_pool: String,
    /// Pool of the IPv6 address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv6_pool: String,
    /// Gateway, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv4_gateway: String,
    /// Gateway, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv6_gateway: String,
    /// MAC that an external provider chose, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// VLAN, 0 for none.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub vlan: i64,
    /// Routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<PolicyRoute>,
}
