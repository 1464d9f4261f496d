//! Bodies of requests and answers (spec/spiderpool.md 5). Keys are those of the replaced agent; what is optional there is left
//! out here when it is empty.
//!
//! These are texts, not checked values: whoever receives one checks what it relies on.

mod coordinator;
mod endpoint;

pub use coordinator::{CoordinatorConfig, PodIdentity, PolicyRoute};
pub use endpoint::{EndpointInterface, WorkloadEndpoint};

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Body of `POST /ipam/ip`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddRequest {
    /// Id of the pod's sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface that asks.
    pub if_name: String,
    /// Path of the pod's network namespace.
    pub net_namespace: String,
    /// The pod.
    pub pod_namespace: String,
    /// The pod.
    pub pod_name: String,
    /// The pod's UID as the runtime knows it; may be empty.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// Pools of the network configuration; names or patterns.
    #[serde(rename = "defaultIPv4IPPool", default, skip_serializing_if = "Vec::is_empty")]
    pub default_ipv4_ippool: Vec<String>,
    /// Pools of the network configuration; names or patterns.
    #[serde(rename = "defaultIPv6IPPool", default, skip_serializing_if = "Vec::is_empty")]
    pub default_ipv6_ippool: Vec<String>,
    /// No default route for this interface.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clean_gateway: bool,
    /// Only pools whose subnet holds an address of the interface's physical function.
    #[serde(default, skip_serializing_if = "is_false")]
    pub match_master_subnet: bool,
    /// The addresses of that physical function, which polynic's plugin finds itself. The replaced agent does not know this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_addresses: Option<Vec<IpAddr>>,
}

/// Answer of `POST /ipam/ip`. May hold entries of other interfaces of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddResponse {
    /// Addresses.
    pub ips: Vec<IpConfig>,
    /// Routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name service; the replaced agent never fills it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
}

/// One address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpConfig {
    /// 4 or 6.
    pub version: u8,
    /// `address/prefix length`.
    pub address: String,
    /// The interface.
    pub nic: String,
    /// Name of the pool.
    #[serde(rename = "ipPool", default, skip_serializing_if = "String::is_empty")]
    pub ip_pool: String,
    /// The pool's gateway, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// VLAN, 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vlan: i64,
    /// MAC that an external provider chose, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The plugin is to look whether the gateway answers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enable_gateway_detection: bool,
    /// The plugin is to look whether somebody else answers for the address.
    #[serde(rename = "enableIPConflictDetection", default, skip_serializing_if = "is_false")]
    pub enable_ip_conflict_detection: bool,
}

/// One route of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The interface.
    pub if_name: String,
    /// Destination, CIDR.
    pub dst: String,
    /// Next hop.
    pub gw: String,
}

/// Name service of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// The local domain, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Addresses of servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Search list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Body of `DELETE /ipam/ip`. All interfaces of the pod are released together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelRequest {
    /// Id of the pod's sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface that goes.
    pub if_name: String,
    /// Path of the pod's network namespace, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub net_namespace: String,
    /// The pod.
    pub pod_namespace: String,
    /// The pod.
    pub pod_name: String,
    /// The pod's UID as the runtime knows it; may be empty.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// The interface goes while its pod lives: only its own addresses are given back. No agent but ours knows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_detached: bool,
}

/// In `CNI_ARGS` of a DEL with the value `true`: the interface is detached from a pod that lives on. [`DelRequest::is_detached`] repeats it.
pub const DETACHED: &str = "POLYNIC_DETACHED";

/// Body of `DELETE /ipam/ips`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDelRequest {
    /// Id of the pod's sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Path of the pod's network namespace, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub net_namespace: String,
    /// The pod.
    pub pod_namespace: String,
    /// The pod.
    pub pod_name: String,
    /// The pod's UID as the runtime knows it; may be empty.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// Only what this interface has goes; empty means all of the pod's. Our addition: other callers name none, and other agents pass it over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub if_name: String,
    /// The addresses turned out to be somebody else's, found by another caller than the plugin.
    #[serde(rename = "isReleaseConflictIPs", default, skip_serializing_if = "is_false")]
    pub is_release_conflict_ips: bool,
}

/// What a refused body is answered with, under status 422.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A number of the replaced agent's API library: 602 for a missing key.
    pub code: u32,
    /// Names what is wrong.
    pub message: String,
}

// serde wants references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests;
