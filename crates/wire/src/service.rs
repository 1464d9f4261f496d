//! The agent API as a trait: what plugins call, whether the agent is another process or this one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use crate::whereabouts::{Nowhere, Whereabouts};

/// Hands out addresses and what else the agent knows. Every call blocks, at most until its deadline.
pub trait AddressService: Send + Sync {
    /// Whether the agent can serve at all.
    fn healthy(&self, deadline: Instant) -> Result<(), ServiceError>;

    /// Addresses for one interface of a pod. A repeated request gets the same ones.
    fn allocate(&self, request: &AddRequest, deadline: Instant) -> Result<AddResponse, ServiceError>;

    /// Gives back what a pod holds, unless the pod is alive or keeps its addresses. A repeated request succeeds.
    fn release(&self, request: &DelRequest, deadline: Instant) -> Result<(), ServiceError>;

    /// Gives back what a living pod holds, because somebody else uses the addresses.
    fn release_batch(&self, request: &BatchDelRequest, deadline: Instant) -> Result<(), ServiceError>;

    /// What `coordinator` is to do for a pod where its own configuration says nothing.
    fn coordinator_config(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<CoordinatorConfig, ServiceError>;

    /// What a pod holds.
    fn workload_endpoint(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<WorkloadEndpoint, ServiceError>;
}

/// Finds the service behind the socket path that a configuration names.
pub trait AddressServices: Send + Sync {
    /// The service. Nothing is sent yet: an agent that is away shows with the first call.
    fn at(&self, socket: &Path) -> Arc<dyn AddressService>;

    /// Who serves the `whereabouts` plugin.
    fn whereabouts(&self) -> Arc<dyn Whereabouts> {
        Arc::new(Nowhere)
    }
}

/// Why a call has no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nobody answers: no socket, nobody listening, or the connection broke.
    #[error("the node agent at {} cannot be reached: {step}", .socket.display())]
    Away {
        /// Path of the socket.
        socket: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("the node agent at {} did not answer in time", .socket.display())]
    Late {
        /// Path of the socket.
        socket: PathBuf,
    },
    /// The agent answered with an error. The text is the agent's.
    #[error("{message}")]
    Status {
        /// HTTP status: 4xx or 5xx, with 521 and 522 as in spec/spiderpool.md 5.
        code: u16,
        /// What the agent says.
        message: String,
    },
    /// What came back is no answer of this API.
    #[error("the node agent at {} answered something else than its API says: {why}", .socket.display())]
    Garbled {
        /// Path of the socket.
        socket: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

impl ServiceError {
    /// An answer of the agent.
    pub fn status(code: u16, message: impl Into<String>) -> Self {
        Self::Status { code, message: message.into() }
    }

    /// Whether there was no answer: the agent may be away, or have done the work without our knowing.
    pub fn is_without_answer(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Late { .. })
    }
}
