//! Which device each network of a pod gets (spec/multus.md 6).
//!
//! A NAD that names a resource takes one of the devices that the pod was given of it: the k-th such network the k-th device, in the order of
//! their ids. A device is handed out once in a pod, whatever counts it: kubelet lists one that an init container used before a second
//! time, and a default network of the pod's own takes from the same devices as all others (spec/decisions.md, Multus).

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, PodInfo};
use crate::delegate_conf::{DelegateConf, DelegateError};

/// The devices of one pod, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    by_resource: BTreeMap<String, BTreeSet<String>>,
    /// What was passed over, for the log.
    pub notes: Vec<String>,
}

/// Why the devices of a pod are not known. The texts begin as the replaced program's do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Neither kubelet nor its checkpoint can be read.
    #[error("failed to get a ResourceClient instance: {0}")]
    Client(String),
    /// kubelet does not say.
    #[error("failed to get resourceMap from ResourceClient: {0}")]
    Resources(String),
    /// The pod's resource claims do not say.
    #[error("failed to get resourceMap from DRA client: {0}")]
    Claims(String),
}

/// Why the networks of a pod cannot get their devices.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssignError {
    /// They are not known.
    #[error(transparent)]
    Devices(#[from] DeviceError),
    /// A configuration cannot take one.
    #[error("network {0}")]
    Conf(String, #[source] DelegateError),
}

impl Devices {
    /// Adds a device; one that is there already is fine.
    pub fn add(&mut self, resource: &str, id: &str) {
        self.by_resource.entry(resource.to_owned()).or_default().insert(id.to_owned());
    }

    /// The first device of a resource that is not among these.
    pub fn free(&self, resource: &str, taken: &[&str]) -> Option<String> {
        self.by_resource.get(resource)?.iter().find(|id| !taken.contains(&id.as_str())).cloned()
    }

    /// The next device of a resource, which nobody else gets then.
    pub fn take(&mut self, resource: &str) -> Option<String> {
        self.by_resource.get_mut(resource)?.pop_first()
    }
}

/// Gives every network that names a resource its device. Nobody is asked if no network does; a network without a device goes without.
/// Answers what is to be logged.
pub(crate) fn assign(
    list: &mut [DelegateConf],
    cluster: Option<&dyn Cluster>,
    pod: Option<&PodInfo>,
) -> Result<Vec<String>, AssignError> {
    let (Some(cluster), Some(pod)) = (cluster, pod) else { return Ok(Vec::new()) };
    if list.iter().all(|delegate| delegate.resource_name.is_empty()) {
        return Ok(Vec::new());
    }
    let mut devices = cluster.devices(pod)?;
    for delegate in list.iter_mut().filter(|delegate| !delegate.resource_name.is_empty()) {
        match devices.take(&delegate.resource_name) {
            Some(id) => {
                let name = delegate.display_name.clone();
                *delegate =
                    std::mem::take(delegate).with_device(&id).map_err(|why| AssignError::Conf(name, why))?;
            }
            None => devices.notes.push(format!(
                "network {}: no device of resource {} is left",
                delegate.display_name, delegate.resource_name
            )),
        }
    }
    Ok(devices.notes)
}

#[cfg(test)]
mod tests;
