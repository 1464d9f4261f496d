//! What the `whereabouts` plugin asks of whoever can speak to the API server: this process or the node agent's. Blocking calls with a deadline.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

/// One interface of a pod and the ranges that it gets addresses from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhereaboutsRequest {
    /// The credentials; the namespace of its context is where the objects are.
    pub kubeconfig: PathBuf,
    /// The container.
    pub container_id: String,
    /// The interface.
    pub ifname: String,
    /// The pod, as `namespace/name`; empty in a release that does not know it.
    pub podref: String,
    /// An allocation space of its own; empty: the common one.
    pub network_name: String,
    /// One address of each, in this order.
    pub ranges: Vec<WhereaboutsRange>,
    /// Whether an address that another range gave away is passed over.
    pub overlapping: bool,
    /// With node slices: whose, and the name of the NodeSlicePool.
    pub slice: Option<WhereaboutsSlice>,
}

/// A range as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhereaboutsRange {
    /// `10.0.0.0/24`, or `10.0.0.5-10.0.0.9/24`.
    pub range: String,
    /// The first address to hand out, or empty.
    pub start: String,
    /// The last one, or empty.
    pub end: String,
    /// What is not handed out.
    pub exclude: Vec<String>,
}

/// A node's slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhereaboutsSlice {
    /// The NodeSlicePool.
    pub pool: String,
    /// The node.
    pub node: String,
}

/// Hands out addresses by the objects of the replaced program.
pub trait Whereabouts: Send + Sync {
    /// One address of each range, or none at all. A repeated request gets the same ones.
    ///
    /// # Errors
    /// What the user is told.
    fn allocate(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<Vec<IpAddr>, String>;

    /// Gives back what the container's interface has. A repeated request succeeds.
    ///
    /// # Errors
    /// What the user is told.
    fn release(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<(), String>;

    /// Whether the interface has an address of each range.
    ///
    /// # Errors
    /// What the user is told.
    fn check(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<(), String>;
}

/// Where nobody can speak to an API server.
pub struct Nowhere;

const NOWHERE: &str = "this process has no way to an API server";

impl Whereabouts for Nowhere {
    fn allocate(&self, _: &WhereaboutsRequest, _: Instant) -> Result<Vec<IpAddr>, String> {
        Err(NOWHERE.to_owned())
    }

    fn release(&self, _: &WhereaboutsRequest, _: Instant) -> Result<(), String> {
        Err(NOWHERE.to_owned())
    }

    fn check(&self, _: &WhereaboutsRequest, _: Instant) -> Result<(), String> {
        Err(NOWHERE.to_owned())
    }
}
