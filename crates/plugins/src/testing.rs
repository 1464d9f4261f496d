//! What all tests of plugins begin with: the process around a registry, and a call of a pod's interface.

use std::path::Path;

use polynic_cni::Invocation;
use polynic_kernel::FakeDoor;
use polynic_wire::{ReleaseJournal, Sockets};
use serde_json::Value;

use crate::Host;

/// The namespace of the pod.
pub(crate) const NETNS: &str = "/run/netns/pod";

/// A process before a fake kernel, with its files in `directory`. Every plugin is built in, and the seed is always the same.
pub(crate) fn host(door: &FakeDoor, directory: &Path) -> Host {
    Host {
        door: Box::new(door.clone()),
        state: directory.join("state"),
        executable: None,
        addresses: Box::new(Sockets),
        releases: ReleaseJournal::new(directory.join("releases")),
        seed: Box::new(|| 7),
        warn: Box::new(|_| {}),
    }
}

/// A call for `net1` of the pod `blue/web`.
pub(crate) fn invocation(conf: &Value) -> Invocation {
    Invocation {
        container_id: "c1".into(),
        netns: NETNS.into(),
        ifname: "net1".into(),
        args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web".into(),
        path: "/nowhere".into(),
        stdin: conf.to_string().into_bytes(),
        ..Invocation::default()
    }
}
