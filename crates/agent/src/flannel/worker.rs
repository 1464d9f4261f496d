//! The thread that makes the kernel as it should be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use polynic_cluster::flannel::Nodes;
use polynic_cni::cause::chain;
use polynic_flannel::diff::Memory;
use polynic_flannel::{Instance, Lease, Outcome, Own, SubnetFile, write_whole};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::Entropy;
use tokio::sync::watch;

use super::{Config, PERIOD};

/// What the cluster is to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Annotations of the own node.
    pub(super) annotations: BTreeMap<String, String>,
    /// Everything is in place.
    pub(super) is_complete: bool,
}

/// The thread's state.
pub(super) struct Worker {
    config: Config,
    nodes: Arc<Nodes>,
    told: watch::Sender<Told>,
    ready: Arc<AtomicBool>,
    instance: Instance,
    entropy: Entropy,
    kernel: Option<Box<dyn Kernel>>,
    /// What was last said to be wrong: nothing is said twice in a row.
    said: Vec<String>,
}

impl Worker {
    pub(super) fn new(
        config: Config,
        nodes: Arc<Nodes>,
        told: watch::Sender<Told>,
        ready: Arc<AtomicBool>,
    ) -> Self {
        let memory = std::fs::read_to_string(memory_file(&config.subnet_file)).unwrap_or_default();
        let instance = Instance::new(config.settings.clone(), Memory::parse(&memory));
        let entropy = Entropy::new(config.seed);
        Self { config, nodes, told, ready, instance, entropy, kernel: None, said: Vec::new() }
    }

    /// Works until nobody can wake it any more.
    pub(super) fn run(mut self, sleeps: &Receiver<()>) {
        let period = self.config.resync.min(PERIOD);
        while !matches!(sleeps.recv_timeout(period), Err(RecvTimeoutError::Disconnected)) {
            if self.nodes.is_synced() {
                let problems = self.work().unwrap_or_else(|why| vec![why]);
                self.say(problems);
            }
        }
        self.leave();
    }

    /// Takes away what does not stay without a daemon.
    fn leave(&mut self) {
        let kernel = self.kernel.take().map_or_else(|| RealDoor::default().open(None), Ok);
        let left = kernel
            .map_err(|why| why.to_string())
            .and_then(|mut kernel| self.instance.leave(kernel.as_mut()).map_err(|why| why.to_string()));
        match left {
            Ok(tunnels) => {
                tunnels.iter().for_each(|link| tracing::info!(%link, "the tunnel ends with the daemon"))
            }
            Err(why) => tracing::warn!(why, "tunnels that end with the daemon cannot be removed"),
        }
    }

    /// One pass; answers what is wrong with single peers.
    fn work(&mut self) -> Result<Vec<String>, String> {
        let missing = || format!("node {} is not in the cluster", self.config.node);
        let node = self.nodes.get(&self.config.node).ok_or_else(missing)?;
        let (keys, conf) = (self.config.settings.keys.clone(), self.config.settings.conf.clone());
        let own = Own::of(&node, &keys, &conf).map_err(|why| why.to_string())?;
        let (mut leases, mut problems) =
            (Vec::new(), own.problems.iter().map(ToString::to_string).collect::<Vec<_>>());
        for node in self.nodes.all().iter().filter(|node| node.name != own.node) {
            let (lease, wrong) = Lease::of(node, &keys, &conf);
            leases.extend(lease);
            problems.extend(wrong.iter().map(ToString::to_string));
        }
        let outcome = self.pass(&own, &leases)?;
        if outcome.made > 0 {
            tracing::info!(changes = outcome.made, peers = leases.len(), "the kernel was brought up to date");
        }
        self.remember(&mut problems);
        problems.extend(outcome.problems.iter().cloned());
        if !outcome.has_devices {
            // Neither peers nor pods are sent where nothing is.
            self.ready.store(false, Ordering::Relaxed);
            return Ok(problems);
        }
        let written = self.write_subnet(&own, &outcome);
        let is_complete = written.is_ok();
        problems.extend(written.err());
        self.ready.store(is_complete && outcome.has_rules, Ordering::Relaxed);
        let annotations = outcome.announcement.annotations(&own, &keys, &conf);
        let told = Told { annotations, is_complete };
        self.told.send_if_modified(|before| std::mem::replace(before, told.clone()) != told);
        Ok(problems)
    }

    fn pass(&mut self, own: &Own, leases: &[Lease]) -> Result<Outcome, String> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => RealDoor::default().open(None).map_err(|why| why.to_string())?,
        };
        // After a failure to talk the sockets are made anew.
        let outcome =
            self.instance.pass(kernel.as_mut(), own, leases, &mut self.entropy).map_err(|why| chain(&why))?;
        self.kernel = Some(kernel);
        Ok(outcome)
    }

    /// The file, unless it says so already.
    fn write_subnet(&self, own: &Own, outcome: &Outcome) -> Result<(), String> {
        let file = SubnetFile {
            networks: self.config.settings.conf.networks.iter().map(|(_, net)| *net).collect(),
            subnets: own.subnets,
            mtu: outcome.mtu,
            masquerade: self.config.settings.rules.masquerade,
        };
        write_if_new(&self.config.subnet_file, &file.render())
    }

    fn remember(&self, problems: &mut Vec<String>) {
        let (path, text) = (memory_file(&self.config.subnet_file), self.instance.memory.render());
        if text.is_empty() && !path.exists() {
            return;
        }
        problems.extend(write_if_new(&path, &text).err());
    }

    fn say(&mut self, problems: Vec<String>) {
        for problem in problems.iter().filter(|problem| !self.said.contains(problem)) {
            tracing::warn!(node = self.config.node, problem, "flannel");
        }
        if problems.is_empty() && !self.said.is_empty() {
            tracing::info!(node = self.config.node, "flannel: nothing is wrong any more");
        }
        self.said = problems;
    }
}

fn write_if_new(path: &Path, text: &str) -> Result<(), String> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    write_whole(path, text).map_err(|why| format!("cannot write {}: {why}", path.display()))
}

/// Beside the subnet file, so that each instance has its own.
fn memory_file(subnet_file: &Path) -> PathBuf {
    let name = subnet_file.file_name().unwrap_or_default().to_string_lossy();
    subnet_file.with_file_name(format!("{name}.routes"))
}
