//! The devices that a pod was given (spec/multus.md 6.1 and 6.2): from kubelet, by its pod-resources API or else its checkpoint, and from the
//! pod's resource claims.
//!
//! Asked only for pods with a network that names a resource. What belongs to what is decided in `polynic_api::dra`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use polynic_attach::{DeviceError, Devices, PodInfo};
use tokio::time::timeout;

mod checkpoint;
mod claims;
mod pod_resources;

/// For everything that the API server is asked about claims.
const CLAIMS: Duration = Duration::from_secs(20);

/// kubelet's files on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubelet {
    directory: PathBuf,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self::new("/var/lib/kubelet")
    }
}

impl Kubelet {
    /// kubelet's root directory.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_owned() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("pod-resources/kubelet.sock")
    }

    fn checkpoint(&self) -> PathBuf {
        self.directory.join("device-plugins/kubelet_internal_checkpoint")
    }
}

/// All devices of a pod.
///
/// # Errors
/// kubelet, its checkpoint or the API server cannot be asked, or a claim does not make sense.
pub async fn of_pod(client: &Client, kubelet: &Kubelet, pod: &PodInfo) -> Result<Devices, DeviceError> {
    let mut devices = Devices::default();
    of_kubelet(kubelet, pod, &mut devices).await?;
    match timeout(CLAIMS, claims::collect(client, pod, &mut devices)).await {
        Ok(collected) => collected.map_err(DeviceError::Claims)?,
        Err(_) => return Err(DeviceError::Claims(format!("no answer within {} s", CLAIMS.as_secs()))),
    }
    Ok(devices)
}

async fn of_kubelet(kubelet: &Kubelet, pod: &PodInfo, devices: &mut Devices) -> Result<(), DeviceError> {
    let socket = kubelet.socket();
    if socket.exists() {
        return pod_resources::collect(&socket, pod, devices).await.map_err(DeviceError::Resources);
    }
    checkpoint::collect(&kubelet.checkpoint(), pod, devices).map_err(|why| {
        DeviceError::Client(format!(
            "there is no {}, and the checkpoint does not help: {why}",
            socket.display()
        ))
    })
}

#[cfg(test)]
mod fake_kubelet;
#[cfg(test)]
mod tests;
