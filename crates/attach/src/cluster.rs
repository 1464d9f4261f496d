//! What attaching needs of a Kubernetes API server, and of a pod's network namespace, as traits.
//!
//! Both are synchronous; an implementation bounds every call by a deadline of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_api::{NetworkAttachmentDefinition, PodEvent, annotation};
use polynic_cni::Error;
use polynic_net::Route;

use crate::devices::{DeviceError, Devices};

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID as the container runtime knows it, or empty.
    pub uid: String,
}

/// What is known about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID in the API.
    pub uid: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The node it runs on, or empty.
    pub node: String,
}

/// How long an answer of the API server is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// ADD: a pod without network is worth waiting for; nearly as long as the container runtime does.
    Patient,
    /// DEL and whatever else goes on without an answer.
    Brief,
}

/// Which NAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NadRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name, as a user wrote it: the implementation must not let it lead anywhere else in the API.
    pub name: String,
}

/// Why a NAD could not be read; the text is the API server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NadError {
    /// There is none of that name.
    #[error("{0}")]
    NotFound(String),
    /// Whatever else went wrong.
    #[error("{0}")]
    Other(String),
}

/// Why a pod could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error waiting for pod: {0}")]
pub struct PodError(pub String);

/// Why the network status could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// The pod is gone, which is nobody's fault.
    #[error("pod {0:?} not found")]
    NotFound(String),
    /// There is another pod of that name now.
    #[error("SetNetworkStatus: expected pod {name} UID {expected:?} but got {found:?} from Kube API")]
    OtherPod {
        /// Namespace and name.
        name: String,
        /// The UID that the container runtime named.
        expected: String,
        /// The UID in the API.
        found: String,
    },
    /// Whatever else went wrong.
    #[error("{0}")]
    Other(String),
}

/// The API server.
pub trait Cluster {
    /// Reads a pod; `None` if the API server says that there is none.
    fn pod(&self, pod: &PodRef, patience: Patience) -> Result<Option<PodInfo>, PodError>;

    /// Reads NADs, all at once. The answers are in the order of the questions.
    fn nads(&self, wanted: &[NadRef]) -> Vec<Result<NetworkAttachmentDefinition, NadError>>;

    /// Writes annotations into the pod through its status sub-resource, unless it is another pod by now.
    fn set_pod_annotations(&self, pod: &PodRef, annotations: &[(&str, &str)]) -> Result<(), StatusError>;

    /// Posts an Event about a pod in the background, best effort.
    fn event(&self, pod: &PodRef, event: &PodEvent);

    /// The devices that a pod was given, of all resources. Asked only if a network of the pod names a resource.
    fn devices(&self, pod: &PodInfo) -> Result<Devices, DeviceError>;

    /// Waits until the Events are out, or a short while.
    fn flush(&self);
}

/// A pod's network namespace, named by its path.
pub trait PodNetns {
    /// Is there an interface of this name? An error if the namespace cannot be entered.
    fn has_interface(&self, netns: &str, interface: &str) -> Result<bool, Error>;

    /// Every IPv4 and IPv6 default route of the main table that leads through the interface.
    fn default_routes(&self, netns: &str, interface: &str) -> Result<Vec<Route>, Error>;

    /// Puts a route back that was there before; one that is there already is fine.
    fn restore_route(&self, netns: &str, route: &Route) -> Result<(), Error>;

    /// Deletes every IPv4 and IPv6 default route of the main table that leads through the interface; none is fine.
    fn delete_default_routes(&self, netns: &str, interface: &str) -> Result<(), Error>;

    /// Adds a default route of the main table, without metric; one that is there already is fine.
    fn add_default_route(&self, netns: &str, interface: &str, next_hop: IpAddr) -> Result<(), Error>;
}

impl PodInfo {
    /// A static pod: its UID in the API is that of its mirror.
    pub fn is_static(&self) -> bool {
        annotation::is_static_pod(self.annotations.get(annotation::CONFIG_SOURCE).map(String::as_str))
    }

    /// Is this the pod that the container runtime means? Unknown UIDs and static pods are taken on trust.
    pub fn is(&self, pod: &PodRef) -> bool {
        pod.uid.is_empty() || self.is_static() || self.uid == pod.uid
    }
}
