//! A Kubernetes node: a machine with containerd, kubelet and our node agent, with our plugins in its directory of plugins.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::containerd::{Containerd, Places};
use crate::cri::{Cri, Sandbox};
use crate::kubelet::{self, Identity, Kubelet};
use crate::process::Process;
use crate::space::{Interfaces, Space};

/// How a node attaches its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By `multus`, a process of its own for each call.
    Thin,
    /// By `multus-shim`, through the node agent, which also makes the runtime's configuration.
    Thick,
    /// As a node on which nothing of ours is installed: the default network's own configuration and the reference plugins, in the usual
    /// directories. Pods reach the API server by its service.
    Foreign,
}

/// What a node is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// Its number, from 1.
    pub(crate) nth: u8,
    /// How it attaches pods.
    pub(crate) mode: Mode,
    /// The program.
    pub(crate) kubelet: &'a Path,
    /// Everybody's credentials.
    pub(crate) kubeconfig: &'a Path,
    /// The API server.
    pub(crate) server: SocketAddr,
}

/// Where a runtime looks by default.
const USUAL: [&str; 2] = ["/opt/cni/bin", "/etc/cni/net.d"];
/// What the default networks of a node without us need; containerd wants `loopback`.
const REFERENCE_PLUGINS: [&str; 6] = ["bridge", "host-local", "loopback", "macvlan", "portmap", "ptp"];

/// A node; everything on it ends with it.
pub struct Node {
    agent: Option<Process>,
    kubelet: Kubelet,
    containerd: Containerd,
    kubeconfig: PathBuf,
    name: String,
    mode: Mode,
    /// The container runtime's client.
    pub cri: Cri,
    // Last: what runs in the machine is ended first.
    /// The machine.
    pub space: Space,
}

impl Node {
    /// Starts a node on the link of the calling thread's network.
    ///
    /// # Panics
    /// Something of it cannot be started.
    pub(crate) fn start(plan: Plan<'_>) -> Self {
        let (name, address) = (format!("node-{}", plan.nth), address(plan.nth));
        let space = Space::new(&name);
        plug(&space, plan.nth);
        space.ip(&format!("address add {address}/24 dev eth0\nlink set eth0 up"));
        let containerd = start_containerd(&space, plan);
        let cri = Cri::new(&containerd.socket());
        let identity = Identity { name: &name, address: &address, kubeconfig: plan.kubeconfig };
        let kubelet = Kubelet::start(&space, &containerd, plan.kubelet, identity);
        let agent = (plan.mode != Mode::Foreign)
            .then(|| Process::start(agent(&space, &name, plan.mode, plan.kubeconfig), &agent_log(&space)));
        let kubeconfig = plan.kubeconfig.to_owned();
        Self { agent, kubelet, containerd, kubeconfig, name, mode: plan.mode, cri, space }
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
        let agent_before = self.agent.as_mut().expect("there is an agent that is no pod");
        agent_before.kill();
        let command = agent(&self.space, &self.name, self.mode, &self.kubeconfig);
        *agent_before = Process::start(command, &agent_log(&self.space));
    }

    /// Where its kubelet looks for pods that are files.
    pub fn static_pods(&self) -> PathBuf {
        kubelet::static_pods(&self.space)
    }

    /// Gives the node's runtime an image.
    ///
    /// # Panics
    /// It does not take the file.
    pub fn load(&self, image: &Path) {
        self.containerd.load(&self.space, image);
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
        let name = &self.name;
        let agent = self.agent.as_ref().map_or_else(|| pod_logs(&self.space), Process::last_words);
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

/// What our pods and others have said.
fn pod_logs(space: &Space) -> String {
    let script = "for log in /var/log/pods/*/*/*.log; do echo $log; tail -n 12 $log; done 2> /dev/null; true";
    space.run("bash", &["-c", script])
}

fn start_containerd(space: &Space, plan: Plan<'_>) -> Containerd {
    let (file, content) = configuration(plan);
    if plan.mode == Mode::Foreign {
        let [bin_dir, conf_dir] = USUAL.map(Path::new);
        space.run("mkdir", &["-p", USUAL[0], USUAL[1]]);
        for plugin in REFERENCE_PLUGINS {
            let file = Path::new(polynic_e2e::reference_plugins().expect("looked for before")).join(plugin);
            space.run("cp", &[file.to_str().unwrap(), USUAL[0]]);
        }
        fs::write(space.outside(USUAL[1]).join(file), content.to_string()).unwrap();
        carry_service(space, plan.server);
        return Containerd::start_with(space, Places { bin_dir, conf_dir });
    }
    let containerd = Containerd::start(space, Path::new(polynic_e2e::plugins()));
    fs::write(containerd.conf_dir().join(file), content.to_string()).unwrap();
    containerd
}

/// What kube-proxy does for the one service that our pods use.
fn carry_service(space: &Space, server: SocketAddr) {
    space.ip(&format!("route add default via {}", server.ip()));
    let to_server = format!("ip daddr 10.96.0.1 tcp dport 443 dnat to {server}");
    let chain = |hook| format!("chain {hook} {{ type nat hook {hook} priority -100; {to_server}; }}");
    let table = format!("table ip services {{\n{}\n{}\n}}", chain("output"), chain("prerouting"));
    space.run("nft", &[&table]);
}

/// Thin `multus` is told everything; for the agent the default network's own configuration is enough.
fn configuration(plan: Plan<'_>) -> (&'static str, Value) {
    let default = default_network(plan.nth);
    match plan.mode {
        Mode::Thin => ("00-multus.conf", multus(&default, plan.kubeconfig)),
        Mode::Thick | Mode::Foreign => ("10-pod-fabric.conflist", default),
    }
}

/// containerd 1.6 knows no version newer than 1.0.0.
fn default_network(nth: u8) -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": format!("10.244.{nth}.0/24")}]],
                      "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "1.0.0", "name": "pod-fabric", "plugins": [{"type": "ptp", "ipam": ipam}]})
}

fn multus(default: &Value, kubeconfig: &Path) -> Value {
    json!({"cniVersion": "1.0.0", "name": "node-net", "type": "multus", "kubeconfig": kubeconfig,
           "delegates": [default], "namespaceIsolation": true})
}

fn agent_log(space: &Space) -> PathBuf {
    space.directory().join("agent.log")
}

/// The agent's services by their replaced names: addresses, and in thick mode the endpoint for `multus-shim`.
fn agent(space: &Space, node: &str, mode: Mode, kubeconfig: &Path) -> Command {
    let (addresses, endpoint) =
        (space.directory().join("agent.yml"), space.directory().join("daemon-config.json"));
    fs::write(&addresses, "enableIPv6: false\n").unwrap();
    fs::write(&endpoint, daemon_config(&space.directory().join("net.d")).to_string()).unwrap();
    let mut command = space.command(Path::new(polynic_e2e::plugins()).join("polynic"));
    command
        .args(["agent", "spiderpool-agent", "daemon"])
        .arg(format!("--config-path={}", addresses.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .envs([("SPIDERPOOL_NODE_NAME", node), ("MULTUS_NODE_NAME", node), ("SPIDERPOOL_HEALTH_PORT", "0")]);
    if mode == Mode::Thick {
        command.args(["--", "multus-daemon", "-config"]).arg(endpoint).arg("-kubeconfig").arg(kubeconfig);
    }
    command
}

fn daemon_config(configurations: &Path) -> Value {
    json!({"cniVersion": "1.0.0", "cniConfigDir": configurations, "multusAutoconfigDir": configurations,
           "multusConfigFile": "auto", "binDir": polynic_e2e::plugins(), "namespaceIsolation": true,
           "logLevel": "verbose", "logToStderr": true})
}
