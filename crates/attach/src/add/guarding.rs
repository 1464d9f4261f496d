//! When the guard is asked during an ADD.

use polynic_cni::{Error, Invocation};

use super::Attached;
use crate::cluster::PodRef;
use crate::delegate_conf::DelegateConf;
use crate::guard::{Guard, GuardedNetwork, Sandbox};
use crate::rows::rows;

/// The guard of one ADD, and the networks that it was told of.
pub(super) struct Guarding<'a> {
    guard: Option<&'a dyn Guard>,
    pod: &'a PodRef,
    invocation: &'a Invocation,
    networks: Vec<GuardedNetwork>,
}

impl<'a> Guarding<'a> {
    pub(super) fn new(guard: Option<&'a dyn Guard>, pod: &'a PodRef, invocation: &'a Invocation) -> Self {
        Self { guard, pod, invocation, networks: Vec::new() }
    }

    /// Before anything is attached: what will be there.
    pub(super) fn before(&mut self, delegates: &[DelegateConf]) -> Result<(), Error> {
        let secondary = delegates.iter().enumerate().skip(1);
        let network = |(index, delegate): (usize, &DelegateConf)| GuardedNetwork {
            name: delegate.display_name.clone(),
            interface: delegate.interface_at(index, &self.invocation.ifname),
        };
        self.networks = secondary.map(network).collect();
        self.networks.sort();
        self.protect()
    }

    /// After everything is attached: what is there, unless it is what was expected.
    pub(super) fn after(&mut self, attached: &[Attached]) -> Result<(), Error> {
        let there = attached.iter().skip(1).flat_map(|one| rows(&one.result, &one.display_name, false));
        let there = there.filter(|row| !row.interface.is_empty());
        let mut networks: Vec<GuardedNetwork> =
            there.map(|row| GuardedNetwork { name: row.name, interface: row.interface }).collect();
        // An expected network that reports no interface stays: it may have one all the same.
        let unreported = |known: &&GuardedNetwork| networks.iter().all(|n| n.name != known.name);
        let missing: Vec<GuardedNetwork> = self.networks.iter().filter(unreported).cloned().collect();
        networks.extend(missing);
        networks.sort();
        if networks == self.networks {
            return Ok(());
        }
        self.networks = networks;
        self.protect()
    }

    /// The ADD failed.
    pub(super) fn release(&self) {
        if let Some(guard) = self.asked() {
            guard.release(&self.sandbox());
        }
    }

    fn protect(&self) -> Result<(), Error> {
        self.asked().map_or(Ok(()), |guard| guard.protect(&self.sandbox()))
    }

    /// Policies are about secondary networks of pods: without either there is nothing to ask.
    fn asked(&self) -> Option<&'a dyn Guard> {
        self.guard.filter(|_| !self.networks.is_empty() && !self.pod.name.is_empty())
    }

    fn sandbox(&self) -> Sandbox<'_> {
        Sandbox {
            pod: self.pod,
            container_id: &self.invocation.container_id,
            netns: &self.invocation.netns,
            networks: &self.networks,
        }
    }
}
