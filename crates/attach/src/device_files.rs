//! Files about devices (spec/multus.md 6.3): a device plugin writes what it knows about a device, a network's plugin finds a copy of its
//! own, may add to it, and the pod's status repeats it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use polynic_api::device_info::DeviceInfo;
use polynic_cni::RuntimeConf;
use serde_json::Value;

use crate::delegate_conf::DelegateConf;

/// Capability argument that tells a plugin where its file is.
pub(crate) const CAPABILITY: &str = "CNIDeviceInfoFile";

/// The directories of device plugins and of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFiles {
    base: PathBuf,
}

impl Default for DeviceFiles {
    fn default() -> Self {
        Self::new("/var/run/k8s.cni.cncf.io/devinfo".into())
    }
}

impl DeviceFiles {
    /// Directories below another one, for tests.
    pub fn new(base: PathBuf) -> Self {
        Self { base }
    }

    /// The file of one attachment.
    pub(crate) fn of_network(&self, display_name: &str, container_id: &str, interface: &str) -> PathBuf {
        self.networks().join(flat(&format!("{display_name}-{container_id}_{interface}")))
    }

    /// Copies what the device plugin knows, for a network that was given a device of a resource. A file that is there already stays.
    pub(crate) fn copy(&self, delegate: &DelegateConf, conf: &RuntimeConf) -> Result<(), String> {
        let Some(target) = self.file(conf).filter(|_| delegate.has_allocated_device) else { return Ok(()) };
        let (resource, id) = (&delegate.resource_name, &delegate.request.device_id);
        let source = self.base.join("dp").join(format!("{}-{}-device.json", flat(resource), flat(id)));
        let copied = fs::read(&source).and_then(|bytes| publish(&target, &bytes));
        copied.map_err(|why| format!("device {id}: {} to {}: {why}", source.display(), target.display()))
    }

    /// What is known about the device of an attachment.
    pub(crate) fn read(&self, conf: &RuntimeConf) -> Option<DeviceInfo> {
        serde_json::from_slice(&fs::read(self.file(conf)?).ok()?).ok()
    }

    /// Removes the file of an attachment; none is fine.
    pub(crate) fn remove(&self, conf: &RuntimeConf) -> Result<(), String> {
        let Some(file) = self.file(conf) else { return Ok(()) };
        match fs::remove_file(&file) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {why}", file.display()))
            }
            _ => Ok(()),
        }
    }

    /// The attachment's file, if it has one of ours: a runtime may name another, which is none of our business.
    fn file(&self, conf: &RuntimeConf) -> Option<PathBuf> {
        let named = conf.capability_args.get(CAPABILITY).and_then(Value::as_str).map(PathBuf::from)?;
        Some(named).filter(|file| file.parent() == Some(&self.networks()) && file.file_name().is_some())
    }

    fn networks(&self) -> PathBuf {
        self.base.join("cni")
    }
}

fn flat(name: &str) -> String {
    name.replace('/', "-")
}

/// Writes a new file, complete or not at all, that nobody changes by mistake.
fn publish(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let temporary = directory.join(format!(".new-{}-{:?}", std::process::id(), std::thread::current().id()));
    let write = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o444)
            .open(&temporary)?
            .write_all(bytes)?;
        // Unlike a rename, a link does not replace what is there.
        match fs::hard_link(&temporary, target) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let written = write();
    let _ = fs::remove_file(&temporary);
    written
}
