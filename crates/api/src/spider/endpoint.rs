//! SpiderEndpoint: which addresses a pod has (spec/spiderpool.md 2.4). Name and namespace are the pod's; there is no spec, and status is
//! written with the object.

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::spider::{Nothing, Object, Route, SpiderKind};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint;

/// The addresses of one pod.
pub type SpiderEndpoint = Object<Endpoint>;

impl SpiderKind for Endpoint {
    const KIND: &'static str = "SpiderEndpoint";
    const PLURAL: &'static str = "spiderendpoints";
    const SINGULAR: &'static str = "spiderendpoint";
    const SHORT_NAME: &'static str = "se";
    const NAMESPACED: bool = true;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spiderendpoints.yaml");
    type Spec = Nothing;
    type Status = EndpointStatus;
}

/// What the pod has, and whose pod it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The current allocation.
    pub current: Allocation,
    /// Kind of the pod's top controller; `Pod` for a bare one.
    pub owner_controller_type: String,
    /// Name of the pod's top controller.
    pub owner_controller_name: String,
}

/// Addresses of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allocation {
    /// The pod's UID.
    pub uid: String,
    /// The pod's node.
    pub node: String,
    /// One item an interface; present even if empty.
    #[serde(deserialize_with = "or_default")]
    pub ips: Vec<InterfaceAddresses>,
}

/// Addresses of one interface of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InterfaceAddresses {
    /// The interface in the pod; empty until an interface claims the item.
    pub interface: String,
    /// With prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// With prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Where `ipv4` is from.
    #[serde(rename = "ipv4Pool", skip_serializing_if = "Option::is_none")]
    pub ipv4_pool: Option<String>,
    /// Where `ipv6` is from.
    #[serde(rename = "ipv6Pool", skip_serializing_if = "Option::is_none")]
    pub ipv6_pool: Option<String>,
    /// VLAN id; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i64>,
    /// The gateway of `ipv4`.
    #[serde(rename = "ipv4Gateway", skip_serializing_if = "Option::is_none")]
    pub ipv4_gateway: Option<String>,
    /// The gateway of `ipv6`.
    #[serde(rename = "ipv6Gateway", skip_serializing_if = "Option::is_none")]
    pub ipv6_gateway: Option<String>,
    /// Whether no default route is made; written only where there is a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean_gateway: Option<bool>,
    /// Routes of the interface.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// MAC that an external provider gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}
