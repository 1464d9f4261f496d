//! Everything that one call works with beside its input.

use std::time::Duration;

use polynic_api::PodEvent;
use polynic_cni::{Delegate, Invocation, Runtime};

use crate::cluster::{Cluster, PodNetns, PodRef};
use crate::config::Config;
use crate::guard::Guard;
use crate::log::Log;
use crate::pod_args::Forward;

/// The world as one call sees it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who calls the plugins.
    pub delegate: &'a dyn Delegate,
    /// The API server; `None` without credentials: annotations are not looked at then, and nobody is told.
    pub cluster: Option<&'a dyn Cluster>,
    /// The pod's network namespace.
    pub netns: &'a dyn PodNetns,
    /// Who keeps network policies in force; `None` where they are switched off.
    pub guard: Option<&'a dyn Guard>,
    /// Where the log goes.
    pub log: &'a Log,
    /// How often and how long the readiness file is waited for.
    pub readiness: Wait,
    /// How long a container's lock is waited for, see [`LOCK_PATIENCE`].
    pub lock: Duration,
    /// What delegates get of the runtime's `CNI_ARGS`.
    pub forward: Forward,
}

/// How long a container's lock is waited for: what a runtime's two minutes leave when a shim has waited in vain for its agent, which may be
/// who holds the lock. A DEL goes on without it then.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(8);

/// A wait for something that shows only when looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Between two looks.
    pub interval: Duration,
    /// All in all.
    pub limit: Duration,
}

impl Wait {
    /// What spec/multus.md 8.1 says about the readiness file: every second, 45 s.
    pub const READINESS: Wait = Wait { interval: Duration::from_secs(1), limit: Duration::from_secs(45) };
}

impl<'a> Context<'a> {
    /// Runs the plugins of this call.
    pub(crate) fn runtime(&self, invocation: &Invocation, config: &Config) -> Runtime<'a> {
        Runtime {
            cache_dir: config.cni_dir.clone(),
            delegate: self.delegate,
            path: config.plugin_path(&invocation.path),
            env: invocation.env.clone(),
        }
    }

    /// Tells the pod, if there is somebody to tell.
    pub(crate) fn tell(&self, pod: &PodRef, event: &PodEvent) {
        if let Some(cluster) = self.cluster.filter(|_| !pod.name.is_empty()) {
            cluster.event(pod, event);
        }
    }

    /// Lets what was told get out.
    pub(crate) fn flush(&self) {
        if let Some(cluster) = self.cluster {
            cluster.flush();
        }
    }
}
