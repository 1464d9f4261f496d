//! Spiderpool's API: the six kinds of group `spiderpool.spidernet.io` (spec/spiderpool.md 2), their labels and annotations.
//!
//! Fields are optional wherever the replaced program leaves them out, `null` reads as absent, unknown fields are ignored, and those that only
//! older releases wrote are still read. The manifests in `crds/` are the contract; tests hold types and manifests together in both directions.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::meta::ObjectMeta;

pub mod annotation;
pub mod coordinator;
pub mod endpoint;
pub mod multus_config;
pub mod nad;
pub mod pool;
pub mod reserved_ip;
pub mod subnet;

#[cfg(test)]
mod drift;

/// Keys of labels: the allocator knows automatic pools by them, so they are its own.
pub use polynic_ipam::label;

pub use coordinator::{CoordinatorSpec, CoordinatorStatus, SpiderCoordinator};
pub use endpoint::{EndpointStatus, SpiderEndpoint};
pub use multus_config::{MultusConfigSpec, SpiderMultusConfig};
pub use pool::{PoolSpec, PoolStatus, SpiderIPPool};
pub use reserved_ip::{ReservedIPSpec, SpiderReservedIP};
pub use subnet::{SpiderSubnet, SubnetSpec, SubnetStatus};

/// API group of all kinds.
pub const GROUP: &str = "spiderpool.spidernet.io";
/// The only version.
pub const VERSION: &str = "v2beta1";
/// Group and version as objects carry it.
pub const API_VERSION: &str = "spiderpool.spidernet.io/v2beta1";
/// The finalizer of every kind that has one.
pub const FINALIZER: &str = "spiderpool.spidernet.io";
/// The category of all kinds: `kubectl get spiderpool`.
pub const CATEGORY: &str = "spiderpool";

/// What the kinds differ in.
pub trait SpiderKind: Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    /// `SpiderIPPool`.
    const KIND: &'static str;
    /// The resource in request paths: `spiderippools`.
    const PLURAL: &'static str;
    /// `spiderippool`: in the names and paths of webhooks.
    const SINGULAR: &'static str;
    /// What users type: `sp`.
    const SHORT_NAME: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;
    /// The manifest of the custom resource definition.
    const CRD: &'static str;
    /// The desired state; [`Nothing`] if there is none.
    type Spec: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The observed state; [`Nothing`] if there is none.
    type Status: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
}

/// One object of a kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Object<K: SpiderKind> {
    /// [`API_VERSION`].
    #[serde(default)]
    pub api_version: String,
    /// [`SpiderKind::KIND`].
    #[serde(default)]
    pub kind: String,
    /// Name, labels, life cycle.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The desired state.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub spec: K::Spec,
    /// The observed state; absent until something was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<K::Status>,
}

impl<K: SpiderKind> Object<K> {
    /// An object with its type, a name and a spec.
    pub fn new(name: &str, spec: K::Spec) -> Self {
        let metadata = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
        Self { api_version: API_VERSION.to_owned(), kind: K::KIND.to_owned(), metadata, spec, status: None }
    }
}

/// The spec or status of a kind that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Whether a field is of a kind that has no such state, and is not written.
pub fn is_nothing<T: 'static>(_: &T) -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<Nothing>()
}

/// A route as pools, subnets, endpoints and annotations have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    /// Destination prefix.
    pub dst: String,
    /// Next hop.
    pub gw: String,
}

/// The manifests of all six kinds.
pub const CRDS: [&str; 6] = [
    pool::IPPool::CRD,
    subnet::Subnet::CRD,
    reserved_ip::ReservedIP::CRD,
    endpoint::Endpoint::CRD,
    coordinator::Coordinator::CRD,
    multus_config::MultusConfig::CRD,
];
