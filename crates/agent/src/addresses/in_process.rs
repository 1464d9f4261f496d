//! The service for plugins in this process: blocking calls from plain threads, answered on the agent's runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Instant;

use polynic_wire::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{AddressService, AddressServices, ServiceError, SocketService};
use tokio::runtime::Handle;

use super::{Refused, Service};

/// The service behind its own socket's path; other paths lead to other agents.
///
/// Must not be called on a thread of the runtime: it blocks.
#[derive(Clone)]
pub struct InProcess {
    socket: PathBuf,
    service: Arc<Service>,
    runtime: Handle,
}

impl InProcess {
    /// The service that also listens at `socket`, for calls that are answered on `runtime`.
    pub fn new(socket: impl Into<PathBuf>, service: Arc<Service>, runtime: Handle) -> Self {
        Self { socket: socket.into(), service, runtime }
    }

    fn call<T, F>(&self, deadline: Instant, call: impl FnOnce(Arc<Service>) -> F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refused>> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        let work = call(self.service.clone());
        self.runtime.spawn(async move {
            // A caller whose deadline has passed is gone; the work was done all the same.
            let _ = reply.send(work.await);
        });
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome.map_err(|refused| ServiceError::status(refused.code, refused.message)),
            Err(RecvTimeoutError::Timeout) => Err(ServiceError::Late { socket: self.socket.clone() }),
            Err(RecvTimeoutError::Disconnected) => Err(ServiceError::Away {
                socket: self.socket.clone(),
                step: "the agent is ending",
                source: std::io::ErrorKind::ConnectionAborted.into(),
            }),
        }
    }
}

impl AddressServices for InProcess {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        if socket == self.socket { Arc::new(self.clone()) } else { Arc::new(SocketService::new(socket)) }
    }
}

impl AddressService for InProcess {
    fn healthy(&self, deadline: Instant) -> Result<(), ServiceError> {
        self.call(deadline, |service| async move { service.healthy() })
    }

    fn allocate(&self, request: &AddRequest, deadline: Instant) -> Result<AddResponse, ServiceError> {
        let request = request.clone();
        self.call(deadline, |service| async move { service.add(&request).await })
    }

    fn release(&self, request: &DelRequest, deadline: Instant) -> Result<(), ServiceError> {
        let request = request.clone();
        self.call(deadline, |service| async move { service.release(&request).await })
    }

    fn release_batch(&self, request: &BatchDelRequest, deadline: Instant) -> Result<(), ServiceError> {
        let request = request.clone();
        self.call(deadline, |service| async move { service.release_batch(&request).await })
    }

    fn coordinator_config(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<CoordinatorConfig, ServiceError> {
        let pod = pod.clone();
        self.call(deadline, |service| async move { service.coordinator_config(&pod).await })
    }

    fn workload_endpoint(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<WorkloadEndpoint, ServiceError> {
        let pod = pod.clone();
        self.call(deadline, |service| async move { service.workload_endpoint(&pod).await })
    }
}
