//! The guard of attachments in this process.

use std::time::Duration;

use polynic_attach::{Guard, Sandbox};
use polynic_cni::Error;
use polynic_wire::{PolicyNetwork, PolicySandbox};
use tokio::runtime;

use super::service::Handle;

/// How long an attachment waits for the policies of its pod.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the service that runs in this process. For threads that may block, never for a task of the runtime.
#[derive(Clone)]
pub struct PolicyGuard {
    handle: Handle,
    runtime: runtime::Handle,
}

impl PolicyGuard {
    /// A guard; `runtime` is where the service runs.
    pub fn new(handle: Handle, runtime: runtime::Handle) -> Self {
        Self { handle, runtime }
    }
}

impl Guard for PolicyGuard {
    fn protect(&self, sandbox: &Sandbox<'_>) -> Result<(), Error> {
        let asked = tokio::time::timeout(PATIENCE, self.handle.protect(message(sandbox)));
        match self.runtime.block_on(asked) {
            Ok(answer) => answer.map_err(|why| Error::internal(why.to_string())),
            Err(_) => Err(Error::try_again("the node agent did not get at the policies in time")),
        }
    }

    fn release(&self, sandbox: &Sandbox<'_>) {
        let asked = tokio::time::timeout(PATIENCE, self.handle.release(message(sandbox)));
        // What is not released now is when the namespace goes.
        let _ = self.runtime.block_on(asked);
    }
}

fn message(sandbox: &Sandbox<'_>) -> PolicySandbox {
    let network = |n: &polynic_attach::GuardedNetwork| PolicyNetwork {
        name: n.name.clone(),
        interface: n.interface.clone(),
    };
    PolicySandbox {
        container_id: sandbox.container_id.to_owned(),
        net_namespace: sandbox.netns.to_owned(),
        pod_namespace: sandbox.pod.namespace.clone(),
        pod_name: sandbox.pod.name.clone(),
        pod_uid: sandbox.pod.uid.clone(),
        networks: sandbox.networks.iter().map(network).collect(),
    }
}
