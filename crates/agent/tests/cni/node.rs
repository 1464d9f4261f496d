//! A node with pods: network namespaces, an agent on a thread, and a runtime that calls the shim.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use polynic_agent::cni::Config;
use polynic_agent::cni::daemon::{self, Around, Daemon};
use polynic_attach::shim::Patience;
use polynic_attach::{DoorNetns, Shim, Thin};
use polynic_cluster::client_from;
use polynic_cni::{Answer, Verb};
use polynic_kernel::netns::{self, Netns, Pod as PodPlace};
use polynic_kernel::{Door, RealDoor, testing};
use polynic_net::{IfName, LinkNeed, Needs, Place};
use polynic_plugins::{Host, Registry};
use polynic_runtime::Shutdown;
use polynic_wire::multus::deletions::Deletions;
use polynic_wire::multus::{Endpoint, MultusSocket};
use polynic_wire::{ReleaseJournal, Sockets};
use serde_json::{Value, json};

use crate::api::{PODS, World, runtime, until};

pub const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
pub const EVENTS: &str = "/api/v1/namespaces/default/events";
pub const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// A cluster of one node.
pub struct Node {
    pub world: World,
    /// Tells the bridges of tests apart.
    number: u32,
}

/// Nothing where this machine has no namespaces for us.
pub fn node() -> Option<Node> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // Asked on a thread of its own, which goes into the namespaces that are made for the answer.
    thread::spawn(testing::scratch_netns).join().unwrap()?;
    let node = Node { world: World::new(), number: NUMBER.fetch_add(1, Ordering::Relaxed) };
    node.world.define(&serde_saphyr::from_str(polynic_api::nad::CRD).unwrap());
    until("the NADs are served", || node.world.try_create(NADS, &node.nad("probe")));
    node.nads(&["a", "b", "c"]);
    std::fs::create_dir_all(node.path("bin")).unwrap();
    std::fs::create_dir_all(node.path("net.d")).unwrap();
    std::fs::write(node.primary(), node.fabric(&json!({})).to_string()).unwrap();
    Some(node)
}

impl Node {
    pub fn path(&self, name: &str) -> PathBuf {
        self.world.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn nads(&self, names: &[&str]) {
        for name in names {
            self.world.create(NADS, &self.nad(name));
        }
    }

    fn nad(&self, name: &str) -> Value {
        let config = self.bridge(name, 110 + u32::from(name.as_bytes()[0] % 16));
        self.nad_with(name, &config)
    }

    pub fn nad_with(&self, name: &str, config: &Value) -> Value {
        let mut config = config.clone();
        config["cniVersion"] = json!("1.0.0");
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
               "metadata": {"name": name, "namespace": "default"}, "spec": {"config": config.to_string()}})
    }

    /// The default network's configuration, whose only plugin has these capabilities.
    pub fn fabric(&self, capabilities: &Value) -> Value {
        let mut plugin = self.bridge("fabric", 100);
        plugin["capabilities"] = capabilities.clone();
        json!({"cniVersion": "1.0.0", "name": "fabric", "plugins": [plugin]})
    }

    /// Where it is.
    pub fn primary(&self) -> PathBuf {
        self.path("net.d/10-fabric.conflist")
    }

    /// A bridge of this node, whose ports are counted.
    pub fn bridge_name(&self, name: &str) -> String {
        format!("t{}-{name}", self.number)
    }

    fn bridge(&self, name: &str, net: u32) -> Value {
        json!({"type": "bridge", "bridge": self.bridge_name(name),
               "ipam": {"type": "host-local", "dataDir": self.text("addresses"),
                        "ranges": [[{"subnet": format!("10.{net}.0.0/16")}]]}})
    }

    /// What the node's runtime gives the shim.
    pub fn conf(&self) -> Value {
        json!({"cniVersion": "1.1.0", "name": "multus-cni-network", "type": "multus-shim",
               "clusterNetwork": self.primary(), "daemonSocketDir": self.text("run"),
               "cniDir": self.text("cache"), "binDir": self.text("bin")})
    }

    /// `daemon-config.json`, with further keys.
    pub fn config(&self, keys: &Value) -> Config {
        let mut all =
            json!({"socketDir": self.text("run"), "cniDir": self.text("cache"), "binDir": self.text("bin")});
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let node = |name: &str| (name == "MULTUS_NODE_NAME").then(|| "n1".to_owned());
        let config = Config::read(all.to_string().as_bytes(), &node).unwrap();
        std::fs::create_dir_all(self.path("state")).unwrap();
        Config { deletions: self.path("deletions"), state: self.path("state"), ..config }
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(&json!({}))
    }

    /// An agent with further keys of `daemon-config.json`.
    pub fn agent_with(&self, keys: &Value) -> Agent {
        Agent::start(self.config(keys), self.world.kubeconfig())
    }

    /// A pod with networks, and the namespace that a runtime has made for it.
    pub fn pod(&self, name: &str, networks: &str) -> Pod<'_> {
        let annotations = if networks.is_empty() { json!({}) } else { json!({NETWORKS: networks}) };
        let uid = self.world.pod(name, "n1", annotations);
        self.sandbox(name, &uid)
    }

    pub fn sandbox(&self, name: &str, uid: &str) -> Pod<'_> {
        let number = number();
        let path = PathBuf::from(format!("/run/netns/pod-{number}"));
        let netns = Some(netns::create_pinned(&path).unwrap());
        let container = format!("c{number}-{name}");
        Pod { node: self, name: name.to_owned(), uid: uid.to_owned(), container, path, netns }
    }

    pub fn edit(&self, pod: &str, networks: &str) {
        self.world.patch(PODS, pod, &json!({"metadata": {"annotations": {NETWORKS: networks}}}));
    }

    /// Reasons and texts of a pod's Events.
    pub fn events(&self, pod: &str) -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let all = self.world.list(EVENTS);
        let own = all.iter().filter(|event| event["involvedObject"]["name"] == *pod);
        own.map(|event| (text(event, "reason"), text(event, "message"))).collect()
    }

    /// Whatever is kept about attachments: caches, records, addresses. Empty when all pods are gone.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["cache", "cache/results", "state/attachments", "deletions", "addresses"] {
            let below = std::fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
            for entry in below {
                let path = entry.path();
                if path.file_name().is_some_and(|name| name == "results") {
                    continue;
                }
                found.extend(files(&path));
            }
        }
        // host-local's own bookkeeping, locks, and what a killed process was about to rename.
        let is_nobodys = |name: &str| {
            ["last_reserved_ip", "/.result-", "/.scratch-"].iter().any(|part| name.contains(part))
        };
        found.retain(|name| !is_nobodys(name) && !name.ends_with("lock"));
        found
    }

    /// Ports of this node's bridges: the other ends of what pods have.
    pub fn host_links(&self) -> usize {
        let mut needs = Needs::default();
        needs.host.links = LinkNeed::All;
        let facts = RealDoor::default().open(None).unwrap().observe(&needs).unwrap();
        let own = format!("t{}-", self.number);
        let links = facts.host.links;
        let bridges: Vec<u32> =
            links.iter().filter(|link| link.name.as_str().starts_with(&own)).map(|link| link.index).collect();
        links.iter().filter(|link| link.master.is_some_and(|master| bridges.contains(&master))).count()
    }

    /// A plugin of somebody else: a shell script.
    pub fn script(&self, name: &str, text: &str) {
        let file = self.path("bin").join(name);
        let new = file.with_extension("new");
        std::fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(new, file).unwrap();
    }
}

fn number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn files(path: &Path) -> Vec<String> {
    match std::fs::read_dir(path) {
        Ok(below) => below.flatten().flat_map(|entry| files(&entry.path())).collect(),
        Err(_) => vec![path.display().to_string()],
    }
}

/// A pod's sandbox, as its runtime knows it.
pub struct Pod<'a> {
    pub node: &'a Node,
    pub name: String,
    pub uid: String,
    pub container: String,
    path: PathBuf,
    /// Keeps the namespace, if it is the pod's own.
    netns: Option<Netns<PodPlace>>,
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if self.netns.take().is_some() {
            let _ = netns::unpin(&self.path);
        }
    }
}

pub const PATIENCE: Patience = Patience {
    interval: Duration::from_millis(5),
    ready: Duration::from_secs(60),
    brief: Duration::from_millis(500),
    total: Duration::from_secs(100),
};

impl<'n> Pod<'n> {
    /// A further container of a pod of this name, in the same namespace: for networks that put nothing there.
    pub fn beside(&self, name: &str, uid: &str) -> Pod<'n> {
        let container = format!("c{}-{name}", number());
        let (name, uid) = (name.to_owned(), uid.to_owned());
        Pod { node: self.node, name, uid, container, path: self.path.clone(), netns: None }
    }

    pub fn call(&self, verb: Verb) -> Answer {
        self.call_with(verb, &self.node.conf(), PATIENCE)
    }

    pub fn call_with(&self, verb: Verb, conf: &Value, patience: Patience) -> Answer {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            self.name, self.container, self.uid
        );
        let vars = [
            ("CNI_COMMAND", verb.as_str().to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.path.display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_ARGS", args),
            ("CNI_PATH", self.node.text("bin")),
        ];
        let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        shim(self.node, patience, vars.into_iter().collect(), conf)
    }

    /// Attaches; what the runtime gets.
    pub fn add(&self) -> Value {
        let answer = self.call(Verb::Add);
        assert_eq!(answer.code, 0, "{}: {}", self.name, answer.stdout);
        serde_json::from_str(&answer.stdout).unwrap()
    }

    pub fn del(&self) {
        assert_eq!(self.call(Verb::Del), Answer::default(), "{}", self.name);
    }

    /// Interfaces of the pod but for `lo`, with their addresses.
    pub fn links(&self) -> BTreeMap<String, Vec<String>> {
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        needs.pod.all_addresses = true;
        let mut kernel = RealDoor::default().open(Some(&self.path.display().to_string())).unwrap();
        let pod = kernel.observe(&needs).unwrap().pod.unwrap();
        let lo = IfName::new("lo").unwrap();
        let links = pod.links.iter().filter(|link| link.name != lo);
        let of = |name: &IfName| {
            let own = pod.addresses.iter().filter(|address| address.link == *name);
            own.map(|a| a.net.to_string()).filter(|net| !net.contains(':')).collect::<Vec<String>>()
        };
        links.map(|link| (link.name.to_string(), of(&link.name))).collect()
    }

    /// Deletes an interface behind everybody's back.
    pub fn lose(&self, interface: &str) {
        let mut kernel = RealDoor::default().open(Some(&self.path())).unwrap();
        kernel.delete_links(Place::Pod, &[IfName::new(interface).unwrap()]).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        self.links().into_keys().collect()
    }

    /// Network and interface of each row of the pod's status.
    pub fn status(&self) -> Vec<String> {
        let pod = self.node.world.get(PODS, &self.name).unwrap();
        let Some(text) = pod["metadata"]["annotations"][STATUS].as_str() else { return Vec::new() };
        let rows: Vec<Value> = serde_json::from_str(text).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| format!("{} {}", text(row, "name"), text(row, "interface"))).collect()
    }

    pub fn path(&self) -> String {
        self.path.display().to_string()
    }
}

/// Calls the shim as a process would be called.
pub fn shim(node: &Node, patience: Patience, vars: Vec<(OsString, OsString)>, conf: &Value) -> Answer {
    let host = Host {
        door: Box::new(RealDoor::default()),
        state: node.path("state"),
        executable: None,
        addresses: Box::new(Sockets),
        releases: ReleaseJournal::new(node.path("releases")),
        seed: Box::new(|| 7),
        warn: Box::new(|text| eprintln!("{text}")),
    };
    let (registry, door) = (Registry::new(host), RealDoor::default());
    let netns = DoorNetns { door: &door };
    let local =
        Thin { delegate: &registry, netns: &netns, connect: &|_| Ok(None), guard: &|_| None, version: "1" };
    let deletions = Deletions::new(node.path("deletions"));
    let agent = |directory: &Path| Box::new(MultusSocket::in_directory(directory)) as Box<dyn Endpoint>;
    let shim = Shim { agent: &agent, local, deletions: &deletions, patience };
    shim.answer(vars, &mut conf.to_string().as_bytes())
}

/// The variable that makes the test binary an agent.
pub const CHILD: &str = "POLYNIC_TEST_CNI_AGENT";

/// No test, but the agent as a process of its own, when a test starts it.
#[test]
fn the_agent_as_a_process() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [file, directory, kubeconfig] = arguments.split('|').collect::<Vec<_>>()[..] else {
        panic!("{arguments}")
    };
    let node = |name: &str| (name == "MULTUS_NODE_NAME").then(|| "n1".to_owned());
    let directory = PathBuf::from(directory);
    let config = Config::load(file.as_ref(), &node).unwrap();
    let config = Config { deletions: directory.join("deletions"), state: directory.join("state"), ..config };
    runtime().block_on(async {
        let client = client_from(Some(kubeconfig.as_ref())).await.unwrap();
        let seed = u64::from(std::process::id());
        let around = Around { client, seed, links: Arc::default(), drain: Duration::ZERO };
        daemon::run(config, around, Shutdown::default()).await.unwrap();
    });
}

/// An agent as a process, which generates `00-multus.conf` as well. It does not outlive its test.
pub struct Process {
    child: Child,
    arguments: String,
}

impl Process {
    pub fn start(node: &Node) -> Self {
        let keys = json!({"cniVersion": "1.0.0", "cniConfigDir": node.text("net.d"), "daemonSocketDir": node.text("run"),
                          "multusAutoconfigDir": node.text("net.d")});
        let config = Value::Object(node.config(&keys).overlay);
        let file = node.path("daemon-config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let directory = node.world.directory.path().display();
        let arguments = format!("{}|{directory}|{}", file.display(), node.world.kubeconfig().display());
        let started = Self { child: spawned(&arguments), arguments };
        started.ready(node);
        started
    }

    pub fn ready(&self, node: &Node) {
        let socket = MultusSocket::in_directory(&node.path("run"));
        let ready = || socket.post("/readyz", b"", Instant::now() + Duration::from_secs(1));
        until("the agent is ready", || ready().is_ok_and(|reply| reply.status == 200));
    }

    /// Kills it, and starts the next one at once.
    pub fn replace(&mut self) {
        self.kill();
        self.child = spawned(&self.arguments);
    }

    /// A field of its status in `/proc`, in KiB.
    pub fn memory(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawned(arguments: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "node::the_agent_as_a_process", "--nocapture"])
        .env(CHILD, arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// An agent on a thread of its own.
pub struct Agent {
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
    pub endpoint: Arc<polynic_agent::cni::Endpoint>,
}

impl Agent {
    pub fn start(config: Config, kubeconfig: PathBuf) -> Self {
        Self::with_drain(config, kubeconfig, Duration::ZERO)
    }

    /// One that serves calls so long after its end has come.
    pub fn with_drain(config: Config, kubeconfig: PathBuf, drain: Duration) -> Self {
        let (shutdown, (started, endpoint)) = (Shutdown::default(), std::sync::mpsc::channel());
        let ending = shutdown.clone();
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let client = client_from(Some(&kubeconfig)).await.unwrap();
                let around = Around { client, seed: 7, links: Arc::default(), drain };
                let daemon = Daemon::start(config, around, ending.clone()).await.unwrap();
                daemon.check_itself().await.unwrap();
                started.send(daemon.endpoint().clone()).unwrap();
                daemon.ended(&ending).await;
            });
        });
        Self { shutdown, thread: Some(thread), endpoint: endpoint.recv().unwrap() }
    }
}

impl Agent {
    /// Its end has come.
    pub fn end(&self) {
        self.shutdown.trigger();
    }

    /// Leaves it to the end of the test's process.
    pub fn leave(mut self) {
        self.thread = None;
    }

    /// A line of the metrics' page.
    pub fn counts(&self, line: &str) -> bool {
        self.endpoint.metrics().page().text().lines().any(|known| known == line)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
