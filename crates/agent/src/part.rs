//! A service of the agent, ready to run, and what it finds around itself.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use kube::Client;
use polynic_runtime::Shutdown;
use polynic_wire::AddressService;

use crate::error::Failure;

/// What a service does from its start to its end.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A service with its configuration, ready to run.
pub struct Part {
    /// The replaced program.
    pub name: &'static str,
    /// When it ends.
    pub stage: Stage,
    /// The credentials that its command line names; without them those of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// The level of the log that it wants; empty is the default.
    pub log_level: String,
    /// Runs it.
    pub run: Box<dyn FnOnce(Surroundings) -> Running + Send>,
}

/// Who ends when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// By the signal: it asks others.
    First,
    /// When those that ask it have ended.
    Last,
}

/// What a service finds around itself.
pub struct Surroundings {
    /// The API server; `None` without credentials.
    pub client: Option<Client>,
    /// When to end.
    pub shutdown: Shutdown,
    /// Spreads retries.
    pub seed: u64,
    /// What other services offer in this process.
    pub links: Arc<Links>,
}

/// What finds the address service by the socket that a configuration names.
type AddressesAt = Box<dyn Fn(&Path) -> Arc<dyn AddressService> + Send + Sync>;

/// What services offer each other in-process.
#[derive(Default)]
pub struct Links {
    addresses: OnceLock<AddressesAt>,
}

impl Links {
    /// The address service of this process, once it has started, for whoever would ask at this socket.
    pub fn addresses_at(&self, socket: &Path) -> Option<Arc<dyn AddressService>> {
        self.addresses.get().map(|at| at(socket))
    }

    /// Offers the address service. The first one counts.
    pub(crate) fn offer_addresses(
        &self,
        at: impl Fn(&Path) -> Arc<dyn AddressService> + Send + Sync + 'static,
    ) {
        let _ = self.addresses.set(Box::new(at));
    }
}
