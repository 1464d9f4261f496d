//! A Kubernetes node: a machine with containerd, kubelet and our node agent, with our plugins in its directory of plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::containerd::Containerd;
use crate::cri::{Cri, Sandbox};
use crate::kubelet::{Identity, Kubelet};
use crate::process::Process;
use crate::space::{Interfaces, Space};

/// A node; everything on it ends with it.
pub struct Node {
    agent: Process,
    kubelet: Kubelet,
    containerd: Containerd,
    kubeconfig: PathBuf,
    name: String,
    /// The container runtime's client.
    pub cri: Cri,
    // Last: what runs in the machine is ended first.
    /// The machine.
    pub space: Space,
}

impl Node {
    /// Starts the `nth` node, on the link of the calling thread's network.
    ///
    /// # Panics
    /// Something of it cannot be started.
    pub fn start(nth: u8, kubelet: &Path, kubeconfig: &Path) -> Self {
        let (name, address) = (format!("node-{nth}"), address(nth));
        let space = Space::new(&name);
        plug(&space, nth);
        space.ip(&format!("address add {address}/24 dev eth0\nlink set eth0 up"));
        let containerd = Containerd::start(&space, Path::new(polynic_e2e::plugins()));
        let cri = Cri::new(&containerd.socket());
        fs::write(containerd.conf_dir().join("00-multus.conf"), multus(nth, kubeconfig).to_string()).unwrap();
        let identity = Identity { name: &name, address: &address, kubeconfig };
        let kubelet = Kubelet::start(&space, &containerd, kubelet, identity);
        let agent = start_agent(&space, &name, kubeconfig);
        Self { agent, kubelet, containerd, kubeconfig: kubeconfig.to_owned(), name, cri, space }
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills our agent and starts another one, without waiting for either.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn restart_agent(&mut self) {
        self.agent.kill();
        self.agent = start_agent(&self.space, &self.name, &self.kubeconfig);
    }

    /// What each sandbox that runs has, by the path of its network namespace.
    pub fn pods(&self) -> Vec<(String, Interfaces)> {
        let sandboxes = self.cri.sandboxes().into_iter().filter_map(|id| self.cri.sandbox(&id));
        let running = sandboxes.filter(|sandbox| sandbox.is_ready);
        // One that ends while it is looked at is none that runs.
        let look = |sandbox: Sandbox| Some((self.space.try_interfaces(&sandbox.netns)?, sandbox.netns));
        running.filter_map(look).map(|(interfaces, netns)| (netns, interfaces)).collect()
    }

    /// The end of all logs, for people.
    pub fn last_words(&self) -> String {
        let (name, agent) = (&self.name, self.agent.last_words());
        let (kubelet, containerd) = (self.kubelet.last_words(), self.containerd.last_words());
        format!("{name}: agent:\n{agent}\nkubelet:\n{kubelet}\ncontainerd:\n{containerd}\n")
    }
}

/// The address of a node on the link.
pub(crate) fn address(nth: u8) -> String {
    format!("192.168.50.{}", 10 + nth)
}

/// Connects the machine with the bridge `link0` of the calling thread's network.
fn plug(space: &Space, nth: u8) {
    let wire = format!("wire{nth}");
    let init = space.init().to_string();
    ip(&["link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &init]);
    ip(&["link", "set", &wire, "master", "link0", "up"]);
}

/// Runs `ip` in the calling thread's network.
fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// containerd 1.6 knows no version newer than 1.0.0.
fn multus(nth: u8, kubeconfig: &Path) -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": format!("10.244.{nth}.0/24")}]],
                      "routes": [{"dst": "0.0.0.0/0"}]});
    let default =
        json!({"cniVersion": "1.0.0", "name": "pod-fabric", "plugins": [{"type": "ptp", "ipam": ipam}]});
    json!({"cniVersion": "1.0.0", "name": "node-net", "type": "multus", "kubeconfig": kubeconfig,
           "delegates": [default], "namespaceIsolation": true})
}

fn start_agent(space: &Space, node: &str, kubeconfig: &Path) -> Process {
    let config = space.directory().join("agent.yml");
    fs::write(&config, "enableIPv6: false\n").unwrap();
    let mut command = space.command(Path::new(polynic_e2e::plugins()).join("polynic"));
    command
        .args(["agent", "spiderpool-agent", "daemon"])
        .arg(format!("--config-path={}", config.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .env("SPIDERPOOL_NODE_NAME", node)
        .env("SPIDERPOOL_HEALTH_PORT", "0");
    Process::start(command, &space.directory().join("agent.log"))
}
