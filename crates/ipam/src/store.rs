//! Where the allocator's objects live: the trait that the edge implements with a Kubernetes client, and the
//! simulation with a model of an API server.
//!
//! The writing calls have four outcomes and no more, because the machine decides by them: done, a conflict (somebody
//! was faster: read again), refused (trying again does not help), and unknown (the answer was lost; the write may
//! have happened, or may yet happen). Every write names what it was based on, so a late duplicate cannot do harm.

use std::future::Future;
use std::sync::Arc;

use crate::{Controller, Endpoint, FixedOwner, Pod, PodKey, Pool, Records, ReservedIp, Texts};

/// A read that failed. Whether the object exists is not an error but part of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// A write that did not simply succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is not at that version any more (409), exists already, or has another UID.
    #[error("the object has changed meanwhile")]
    Conflict,
    /// There is no such object (404).
    #[error("the object does not exist")]
    Gone,
    /// The API server will not do it (403, 422 and the like).
    #[error("refused: {0}")]
    Refused(String),
    /// No answer, or one that says nothing about the outcome (time out, reset connection, 429, 5xx).
    #[error("no answer: {0}")]
    Unknown(String),
}

/// The new status of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWrite {
    /// The pool's name.
    pub pool: String,
    /// The version it must still have: send it as `metadata.resourceVersion`.
    pub resource_version: String,
    /// `status.allocatedIPs` = [`Records::to_text`], `status.allocatedIPCount` = [`Records::count`]. Other members
    /// of the status stay as they are.
    pub records: Records,
}

/// A change of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointWrite {
    /// Create it: with the finalizer, and an owner reference to the pod if `owned_by_pod`.
    Create(Endpoint),
    /// Replace its status, provided that it still is at this `resource_version`.
    Update(Endpoint),
    /// Take its finalizer off and delete it, provided that it still has this UID. One that is gone is a success.
    Delete {
        /// Which.
        key: PodKey,
        /// UID of the object, not of the pod.
        object_uid: String,
    },
}

impl EndpointWrite {
    /// Which endpoint it is about.
    pub fn key(&self) -> &PodKey {
        match self {
            Self::Create(endpoint) | Self::Update(endpoint) => &endpoint.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// Labels and annotations of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Labels.
    pub labels: Texts,
    /// Annotations.
    pub annotations: Texts,
}

/// Which networks a pod names, as the edge reads them from its annotations (`v1.multus-cni.io/default-network`,
/// `k8s.v1.cni.cncf.io/networks`), namespaces filled in. Only pools with multusName look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// The pod's own default network, if it names one.
    pub default: Option<PodKey>,
    /// The further networks in order, with the interface name that the pod asks for.
    pub selected: Vec<(PodKey, Option<String>)>,
    /// Why the annotations cannot be read, if so.
    pub problem: Option<String>,
}

/// Reads and writes of one cluster. Calls may overlap; each must answer within a time of the edge's choice.
pub trait Store: Send + Sync + 'static {
    /// A pod. A cached one will do if it has this UID; otherwise, and always if `uid` is empty, it is read from the API
    /// server: that it does not exist, or is another one, is nothing that a cache may say.
    fn pod(&self, key: &PodKey, uid: &str) -> impl Future<Output = Result<Option<Pod>, ReadError>> + Send;

    /// The networks that a pod names. Pure: parse its annotations.
    fn networks(&self, pod: &Pod) -> Networks;

    /// Labels and annotations of a namespace; nothing for one that does not exist. A cache will do.
    fn namespace(&self, name: &str) -> impl Future<Output = Result<Namespace, ReadError>> + Send;

    /// Labels of a node; a cache will do.
    fn node_labels(&self, name: &str) -> impl Future<Output = Result<Texts, ReadError>> + Send;

    /// The controller of a pod's controller: a ReplicaSet's Deployment, a Job's CronJob. Asked for these two kinds only.
    fn controller_of(
        &self,
        namespace: &str,
        object: &Controller,
    ) -> impl Future<Output = Result<Option<Controller>, ReadError>> + Send;

    /// Whether the owner of fixed addresses still wants them; asked for pods that have fixed addresses only.
    fn fixed_owner(&self, pod: &Pod) -> impl Future<Output = Result<FixedOwner, ReadError>> + Send;

    /// An endpoint, read from the API server.
    fn endpoint(&self, key: &PodKey) -> impl Future<Output = Result<Option<Endpoint>, ReadError>> + Send;

    /// All pools; a cache will do, because every decision is checked against a live read or a conditional write.
    fn pools(&self) -> impl Future<Output = Result<Vec<Arc<Pool>>, ReadError>> + Send;

    /// All reserved addresses; a cache will do.
    fn reserved(&self) -> impl Future<Output = Result<Arc<[ReservedIp]>, ReadError>> + Send;

    /// One pool, read from the API server, not from a cache.
    fn pool(&self, name: &str) -> impl Future<Output = Result<Option<Pool>, ReadError>> + Send;

    /// Writes a pool's status; answers its new version.
    fn write_pool(&self, write: PoolWrite) -> impl Future<Output = Result<String, WriteError>> + Send;

    /// Writes an endpoint.
    fn write_endpoint(&self, write: EndpointWrite) -> impl Future<Output = Result<(), WriteError>> + Send;
}
