//! The guard of network policies behind its unix socket: that of the node agent, which may be this very process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use polynic_cni::Error;
use polynic_wire::{PolicyNetwork, PolicySandbox, PolicySocket, ServiceError};

use crate::config::Config;
use crate::guard::{Guard, GuardedNetwork, Sandbox};

/// How long an ADD waits for the policies of its pod: a restart of the node agent, and its first look at the cluster.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a failed ADD waits until what it needed is gone.
const RELEASE: Duration = Duration::from_secs(2);

/// The guard that a configuration names, if network policies are switched on.
pub fn guard(config: &Config) -> Option<Box<dyn Guard>> {
    let socket = config.policy_socket.clone()?;
    Some(Box::new(Agent { socket }))
}

struct Agent {
    socket: PathBuf,
}

impl Guard for Agent {
    fn protect(&self, sandbox: &Sandbox<'_>) -> Result<(), Error> {
        let asked = PolicySocket::new(&self.socket).protect(&message(sandbox), Instant::now() + PATIENCE);
        asked.map_err(|why| match why {
            // The agent is away: policies are switched on, so the pod waits for it.
            away if away.is_without_answer() => Error::try_again(text(&away)),
            answered => Error::internal(text(&answered)),
        })
    }

    fn release(&self, sandbox: &Sandbox<'_>) {
        // Without an agent nothing is lost: its next start looks at all sandboxes.
        let _ = PolicySocket::new(&self.socket).release(&message(sandbox), Instant::now() + RELEASE);
    }
}

fn text(error: &ServiceError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn message(sandbox: &Sandbox<'_>) -> PolicySandbox {
    let network = |n: &GuardedNetwork| PolicyNetwork { name: n.name.clone(), interface: n.interface.clone() };
    PolicySandbox {
        container_id: sandbox.container_id.to_owned(),
        net_namespace: sandbox.netns.to_owned(),
        pod_namespace: sandbox.pod.namespace.clone(),
        pod_name: sandbox.pod.name.clone(),
        pod_uid: sandbox.pod.uid.clone(),
        networks: sandbox.networks.iter().map(network).collect(),
    }
}
