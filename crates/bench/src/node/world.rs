//! A node with an API server, an agent, and a LAN.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use polynic_bench::cluster::Cluster;
use polynic_bench::process::{self, Memory};
use polynic_kernel::{Door, RealDoor};
use polynic_net::{Address, Change, IfName, Link, LinkKind, Place, Veth};
use serde_json::{Value, json};

const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
const COORDINATORS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
/// Where runtimes and plugins look; the process has a /run of its own.
const NETNS: &str = "/run/netns";
const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const NODE: &str = "node-1";

/// What pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The default network alone, whose plugin does next to nothing.
    Trivial,
    /// A default network with a cable, and a macvlan with an address of a pool, and coordinator.
    TwoNetworks,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trivial => "a trivial delegate",
            Self::TwoNetworks => "a cable, and macvlan with a pool's address and coordinator",
        }
    }

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Trivial => "trivial",
            Self::TwoNetworks => "two",
        }
    }

    pub(crate) fn annotations(self) -> Value {
        match self {
            Self::Trivial => json!({}),
            Self::TwoNetworks => json!({"k8s.v1.cni.cncf.io/networks": "lan"}),
        }
    }
}

/// The node.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) binaries: PathBuf,
    directory: PathBuf,
    agent: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::embedded()?.context("no API server")?;
        let directory = cluster.directory().to_owned();
        let program = process::program()?;
        let binaries = directory.join("bin");
        let installed =
            Command::new(&program).arg("install").arg(&binaries).stdout(Stdio::null()).status()?;
        ensure!(installed.success(), "polynic install failed");
        fs::create_dir_all(NETNS)?;
        lan()?;
        objects(&cluster)?;
        let agent = agent(&program, &directory, &cluster)?;
        let world = Self { cluster, binaries, directory, agent };
        world.wait()?;
        Ok(world)
    }

    /// The agent writes this once it serves.
    fn generated(&self) -> PathBuf {
        self.directory.join("net.d/00-multus.conf")
    }

    fn wait(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.generated().is_file() {
            ensure!(Instant::now() < end, "the agent does not get ready");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What a runtime gives the shim; the default network depends on the kind of pod.
    pub(crate) fn conf(&self, kind: Kind) -> anyhow::Result<String> {
        let mut conf: Value = serde_json::from_slice(&fs::read(self.generated())?)?;
        let network = match kind {
            Kind::Trivial => "net.d/10-trivial.conflist",
            Kind::TwoNetworks => "net.d/20-cable.conflist",
        };
        conf["clusterNetwork"] = json!(self.directory.join(network));
        Ok(conf.to_string())
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.agent.id())
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu(self.agent.id())
    }
}

/// The wire that macvlans lie on; its far end is plugged into nothing. It may be there from a world before.
fn lan() -> anyhow::Result<()> {
    let mut node = Box::<RealDoor>::default().open(None)?;
    let (name, far): (IfName, IfName) = ("eth1".parse()?, "sw1".parse()?);
    let veth = Veth { place: Place::Host, name: far.clone(), mac: None, mtu: None };
    let made = node.apply(&Change::create_link(Place::Host, Link::new(name.clone(), LinkKind::Veth(veth))));
    if made.is_ok() {
        let address = "172.17.255.254/16".parse()?;
        node.apply(&Change::add_address(Place::Host, Address::new(&name, address)))?;
        node.apply(&Change::up(Place::Host, &far))?;
        node.apply(&Change::up(Place::Host, &name))?;
    }
    Ok(())
}

fn objects(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.define(polynic_api::nad::CRD, NADS)?;
    cluster.nodes(&[NODE.to_owned()]);
    let spec =
        json!({"subnet": "172.17.0.0/16", "ips": ["172.17.0.2-172.17.250.250"], "gateway": "172.17.255.254"});
    let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": {"name": "lan"}, "spec": spec});
    cluster.create("/apis/spiderpool.spidernet.io/v2beta1/spiderippools", vec![pool])?;
    let spec = json!({"mode": "auto", "podCIDRType": "none", "hijackCIDR": ["10.244.0.0/16", "10.233.0.0/18"],
        "tunePodRoutes": true, "podDefaultRouteNIC": "", "hostRuleTable": 500, "hostRPFilter": 0});
    let status =
        json!({"phase": "Synced", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.233.0.0/18"]});
    let coordinator = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderCoordinator",
        "metadata": {"name": "default"}, "spec": spec});
    cluster.create(COORDINATORS, vec![coordinator])?;
    cluster.set_status(COORDINATORS, "default", &status)?;
    let macvlan = json!({"type": "macvlan", "master": "eth1", "mode": "bridge",
        "ipam": {"type": "spiderpool", "default_ipv4_ippool": ["lan"]}});
    let config = json!({"cniVersion": "0.4.0", "name": "lan", "plugins": [macvlan, {"type": "coordinator"}]});
    let nad = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "lan", "namespace": "default"}, "spec": {"config": config.to_string()}});
    cluster.create(NADS, vec![nad])?;
    Ok(())
}

fn agent(program: &Path, directory: &Path, cluster: &Cluster) -> anyhow::Result<Child> {
    let text = |name: &str| directory.join(name).display().to_string();
    fs::create_dir_all(directory.join("net.d"))?;
    let trivial = json!({"cniVersion": "1.0.0", "name": "trivial", "plugins": [{"type": "loopback"}]});
    fs::write(directory.join("net.d/10-trivial.conflist"), trivial.to_string())?;
    let ipam = json!({"type": "host-local", "dataDir": text("addresses"), "ranges": [[{"subnet": "10.244.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}]});
    let cable =
        json!({"cniVersion": "1.0.0", "name": "cable", "plugins": [{"type": "calico-like", "ipam": ipam}]});
    fs::write(directory.join("net.d/20-cable.conflist"), cable.to_string())?;
    let daemon = json!({"cniVersion": "0.4.0", "socketDir": text("run"), "daemonSocketDir": text("run"), "cniDir": text("cache"),
        "binDir": text("bin"), "cniConfigDir": text("net.d"), "multusAutoconfigDir": text("net.d"),
        "multusConfigFile": "auto", "logLevel": "error"});
    fs::write(directory.join("daemon-config.json"), daemon.to_string())?;
    fs::write(directory.join("spiderpool.yml"), "enableSpiderSubnet: false\n")?;
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let mut command = Command::new(program);
    // To find out what the allocator's settings are worth.
    let settings =
        std::env::vars().filter(|(name, _)| name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES");
    command
        .args(["agent", "spiderpool-agent", "daemon"])
        .arg(format!("--config-path={}", text("spiderpool.yml")))
        .arg(format!("--kubeconfig={kubeconfig}"))
        .args(["--", "multus-daemon", "-config", &text("daemon-config.json"), "-kubeconfig", &kubeconfig])
        .env_clear()
        .envs(settings)
        .env("MULTUS_NODE_NAME", NODE)
        .env("SPIDERPOOL_NODE_NAME", NODE)
        .env("SPIDERPOOL_LOG_LEVEL", "error")
        .env("SPIDERPOOL_HEALTH_PORT", "0")
        .env("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", "60000")
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))
}
