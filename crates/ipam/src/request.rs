//! What callers ask of the allocator, and what it answers.

use std::net::IpAddr;

use polynic_net::IpNet;

use crate::{PodKey, PoolRoute};

/// Milliseconds since a moment that the caller chose; they never run backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A later moment.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How long after `earlier` it is; 0 if it is not.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One request, as its caller numbers it. A number must not be used again while its request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// `POST /v1/ipam/ip`: addresses for an interface of a pod (spec/spiderpool.md section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddRequest {
    /// The pod.
    pub pod: PodKey,
    /// `K8S_POD_UID` of the runtime, which may be empty. The pod that is asked for must have this UID if given.
    pub uid: String,
    /// The sandbox.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub nic: String,
    /// `default_ipv4_ippool` of the network configuration; none if it says nothing.
    pub default_ipv4_pools: Vec<String>,
    /// `default_ipv6_ippool`.
    pub default_ipv6_pools: Vec<String>,
    /// `clean_gateway`.
    pub clean_gateway: bool,
    /// For `match_master_subnet`: the addresses of the host's interface under the pod's. `None` if not asked for.
    pub master_addresses: Option<Vec<IpAddr>>,
    /// When the caller stops waiting. The request is answered by then, whatever happens.
    pub deadline: Millis,
}

/// Which addresses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseKind {
    /// `DELETE /v1/ipam/ip`: all of the pod, unless it lives or is to keep them (section 8).
    Pod,
    /// The same for one interface, which goes while its pod lives: a network that is detached from it.
    Interface,
    /// `DELETE /v1/ipam/ips` after a failed conflict or gateway probe: those recorded for the interface, or for the pod if
    /// none is named; the endpoint stays. The addresses are avoided for a while, so that the next attempt gets others.
    Probe,
    /// `DELETE /v1/ipam/ips` with `isReleaseConflictIPs`.
    Conflict,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The pod.
    pub pod: PodKey,
    /// `K8S_POD_UID` of the runtime, which may be empty.
    pub uid: String,
    /// The sandbox.
    pub container_id: String,
    /// `CNI_IFNAME`: finds the allocation. All interfaces of the pod go together. Empty for a whole pod.
    pub nic: String,
    /// What for.
    pub kind: ReleaseKind,
    /// When the caller stops waiting.
    pub deadline: Millis,
}

/// One address of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The interface; empty for one that a later ADD will take.
    pub nic: String,
    /// The address with the prefix length of its network.
    pub address: IpNet,
    /// The pool it is from.
    pub pool: String,
    /// The gateway of its network.
    pub gateway: Option<IpAddr>,
    /// VLAN id; 0 is none.
    pub vlan: i64,
    /// Hardware address, only from an external provider.
    pub mac: Option<String>,
}

/// One route of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedRoute {
    /// The interface.
    pub nic: String,
    /// Destination and next hop.
    pub route: PoolRoute,
}

/// What an ADD gets: entries of all interfaces of the pod, of which the caller takes its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Addresses.
    pub addresses: Vec<Granted>,
    /// Routes.
    pub routes: Vec<GrantedRoute>,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of an ADD; their records are durable.
    Granted(Grant),
    /// A release is done, or there was nothing to release.
    Released,
    /// It could not be done.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {why}")]
pub struct Failure {
    /// Pod and interface.
    pub subject: String,
    /// What happened.
    pub why: FailureReason,
}

/// The kinds of failures, as metrics tell them apart (section 15) and callers react to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureReason {
    /// The request, the pod, or an annotation is not right: retrying alone does not help.
    #[error("{0}")]
    WrongInput(String),
    /// There is no pool that this pod may use.
    #[error("{0}")]
    NoPool(String),
    /// Every pool that this pod may use is full.
    #[error("{0}")]
    UsedOut(String),
    /// It was not done within the time: the API server did not answer, or others were always faster.
    #[error("{0}")]
    OutOfTime(String),
    /// The API server refused, or its objects disagree.
    #[error("{0}")]
    Internal(String),
    /// A release after a conflict is switched off (the answer 521).
    #[error("the release of conflicting addresses is disabled (SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS)")]
    ConflictReleaseDisabled,
    /// A release after a conflict of a pod with fixed addresses (the answer 522).
    #[error(
        "the pod has fixed addresses (StatefulSet or virtual machine), which are not released on a conflict"
    )]
    ConflictReleaseOfFixed,
}
