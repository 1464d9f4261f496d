//! A real kubelet, on a machine that has a container runtime.

use std::fs;
use std::path::{Path, PathBuf};

use crate::containerd::Containerd;
use crate::process::Process;
use crate::space::Space;

/// A kubelet that runs; it ends when dropped, the pods stay.
#[derive(Debug)]
pub struct Kubelet {
    process: Process,
}

/// The node that a kubelet is for.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Its name in the cluster.
    pub name: &'a str,
    /// Its address.
    pub address: &'a str,
    /// The kubelet's credentials.
    pub kubeconfig: &'a Path,
}

impl Kubelet {
    /// Starts one.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(space: &Space, containerd: &Containerd, program: &Path, node: Identity<'_>) -> Self {
        let directory = space.directory();
        let config = directory.join("kubelet.yaml");
        let pods = static_pods(space);
        fs::create_dir_all(&pods).unwrap();
        fs::write(&config, configuration(&containerd.socket(), &pods)).unwrap();
        let mut command = space.command(program);
        command
            .arg(format!("--config={}", config.display()))
            .arg(format!("--kubeconfig={}", node.kubeconfig.display()))
            .arg(format!("--hostname-override={}", node.name))
            .arg(format!("--node-ip={}", node.address));
        Self { process: Process::start(command, &directory.join("kubelet.log")) }
    }

    /// The end of its log, for people.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }
}

/// Where the kubelet of a machine looks for pods that are files.
pub(crate) fn static_pods(space: &Space) -> PathBuf {
    space.directory().join("static-pods")
}

/// What works in a machine made of namespaces, on either version of control groups. Nothing of the pods is measured or evicted, and no
/// firewall rule is the kubelet's.
fn configuration(socket: &Path, static_pods: &Path) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{}
staticPodPath: {}
fileCheckFrequency: 1s
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
evictionHard: {{memory.available: 0%, nodefs.available: 0%, imagefs.available: 0%}}
imageGCHighThresholdPercent: 100
readOnlyPort: 0
resolvConf: ''
kubeAPIQPS: 100
kubeAPIBurst: 200
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
",
        socket.display(),
        static_pods.display()
    )
}
