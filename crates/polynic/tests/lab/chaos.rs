//! Everything at once: pods come and go in random order on four nodes, more of them than the pool has addresses, while agents and the
//! controller are killed, the API server, the controller and all agents stand still for a time, the pool is edited, a node loses its power and boots
//! again, and another is taken away. Afterwards every pod that can run runs, no address is there twice, none is lost, and the checker finds nothing.
//!
//! `POLYNIC_CHAOS_PODS` says how many pods are made in all, `POLYNIC_CHAOS_SEED` in which order things happen, `POLYNIC_CHAOS_OUTAGE` for how many
//! seconds things stand still.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::labs::{POLYNIC, text};
use crate::processes::{self, signal};

/// Pods in all unless the environment says otherwise.
const PODS: usize = 90;
/// Pods that are made or deleted in one step.
const BATCH: usize = 9;
/// Addresses of the pool; two more when it is edited.
const ADDRESSES: usize = 30;
/// Seconds of an outage unless the environment says otherwise.
const OUTAGE: u64 = 3;
/// How long what must come may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(240);
/// Pods that exist at most: more than there are addresses.
const MOST: usize = 40;

const NETWORK: &str = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan}
spec:
  config: '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge",
    "ipam": {"type": "spiderpool", "default_ipv4_ippool": ["lan"]}}'
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: lan}
spec: {subnet: 192.168.1.0/24, ips: [192.168.1.100-192.168.1.129]}
"#;

/// Numbers that look random and are the same for the same seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

struct Chaos {
    cluster: Cluster,
    dice: Dice,
    alive: Vec<String>,
    made: usize,
    killed: usize,
    outage: Duration,
    /// Whoever lets things go on that stand still.
    resumers: Vec<JoinHandle<()>>,
}

#[test]
fn whatever_dies_no_address_is_doubled_or_lost() {
    let Some(cluster) = Cluster::with(&["--nodes", "4", "--spiderpool"]) else { return };
    let seed = number("POLYNIC_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id())).max(1);
    let pods = number("POLYNIC_CHAOS_PODS").and_then(|n| usize::try_from(n).ok()).unwrap_or(PODS);
    let outage = Duration::from_secs(number("POLYNIC_CHAOS_OUTAGE").unwrap_or(OUTAGE));
    eprintln!(
        "POLYNIC_CHAOS_SEED={seed} POLYNIC_CHAOS_PODS={pods} POLYNIC_CHAOS_OUTAGE={}",
        outage.as_secs()
    );
    cluster.apply(NETWORK);
    let (dice, alive) = (Dice(seed), Vec::new());
    let mut chaos = Chaos { cluster, dice, alive, made: 0, killed: 0, outage, resumers: Vec::new() };
    let mut step = 0;
    while chaos.made < pods {
        chaos.misfortune(step);
        chaos.create(BATCH.min(pods - chaos.made));
        while chaos.alive.len() > MOST {
            chaos.delete(BATCH);
        }
        step += 1;
    }
    assert!(chaos.killed > 2, "daemons were killed: {}", chaos.killed);
    let too_many = chaos.alive.len().saturating_sub(ADDRESSES - 2);
    chaos.delete(too_many);
    chaos.resumers.drain(..).for_each(|resumer| resumer.join().unwrap());
    chaos.everything_runs();
    let rest = chaos.alive.len();
    chaos.delete(rest);
    eventually("addresses are held for pods that are gone", || chaos.held().is_empty());
    eventually("endpoints stay", || {
        chaos.cluster.ok(&["get", "spiderendpoints", "-A", "-o", "name"]).is_empty()
    });
    chaos.cluster.labs.ok(&["down"]);
    chaos.cluster.labs.nothing_left();
}

impl Chaos {
    /// What happens at a step of its own, and otherwise by chance.
    fn misfortune(&mut self, step: usize) {
        match step {
            3 => self.edit_the_pool(),
            4 => self.power_cycle("node3"),
            5 => drop(self.cluster.labs.ok(&["node", "remove", "node4"])),
            6 => self.stop_the_api_server(),
            7 => self.hold_up("controller"),
            8 => self.hold_up("agent"),
            _ => match self.dice.below(3) {
                0 => self.kill("controller"),
                _ => self.kill("agent"),
            },
        }
    }

    /// Ends one daemon of the lab, chosen by chance among those of a kind.
    fn kill(&mut self, word: &str) {
        let mut found = self.some_daemons(word);
        signal("KILL", found.swap_remove(self.dice.below(found.len())));
        self.killed += 1;
    }

    /// One that was killed a moment ago is about to be started again.
    fn some_daemons(&self, word: &str) -> Vec<u32> {
        let mut found = Vec::new();
        eventually("a daemon is not started again", || {
            found = self.daemons(word);
            !found.is_empty()
        });
        found
    }

    /// All daemons of a kind stand still for the time of an outage, and pods come and go meanwhile: connections to them are accepted, and nobody
    /// answers.
    fn hold_up(&mut self, word: &str) {
        let found = self.some_daemons(word);
        found.iter().for_each(|pid| signal("STOP", *pid));
        let outage = self.outage;
        self.resumers.push(std::thread::spawn(move || {
            std::thread::sleep(outage);
            found.iter().for_each(|pid| signal("CONT", *pid));
        }));
    }

    /// A node loses its power and boots again, before anybody has noticed: its pods are made anew on it, and keep their addresses.
    fn power_cycle(&self, node: &str) {
        self.cluster.labs.ok(&["node", "kill", node]);
        self.cluster.labs.ok(&["node", "start", node]);
    }

    fn daemons(&self, word: &str) -> Vec<u32> {
        processes::serving(&self.cluster.labs, "lab", word)
    }

    /// The supervisor serves the API: stopped, it answers nobody, and connections to it stand.
    fn stop_the_api_server(&self) {
        let all = self.cluster.labs.processes().into_iter().filter_map(|pid| pid.parse().ok());
        let supervisors: Vec<u32> = all
            .filter(|pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                text(&line).contains("__supervise")
            })
            .collect();
        assert!(!supervisors.is_empty(), "there is a supervisor");
        supervisors.iter().for_each(|pid| signal("STOP", *pid));
        std::thread::sleep(self.outage);
        supervisors.iter().for_each(|pid| signal("CONT", *pid));
    }

    /// An address less that nobody has yet perhaps, and three more.
    fn edit_the_pool(&self) {
        let held = self.held();
        let free = (100..130).rev().map(|n| format!("192.168.1.{n}")).find(|ip| !held.contains_key(ip));
        let excluded: Vec<String> = free.into_iter().collect();
        let patch = json!({"spec": {"ips": ["192.168.1.100-192.168.1.129", "192.168.1.140-192.168.1.142"],
                                    "excludeIPs": excluded}});
        let run =
            || self.cluster.run(&["patch", "spiderippool", "lan", "--type=merge", "-p", &patch.to_string()]);
        // The controller's webhook may be away, and the address may have been taken meanwhile.
        let output = run();
        let words = text(&output.stderr);
        assert!(output.status.success() || words.contains("webhook") || words.contains("in use"), "{words}");
    }

    fn create(&mut self, count: usize) {
        let pods: Vec<Value> = (0..count)
            .map(|n| {
                let name = format!("p{}", self.made + n);
                self.alive.push(name.clone());
                let annotations = json!({"k8s.v1.cni.cncf.io/networks": "lan"});
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
                       "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}]}})
            })
            .collect();
        self.made += count;
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string());
    }

    fn delete(&mut self, count: usize) {
        let count = count.min(self.alive.len());
        let victims: Vec<String> =
            (0..count).map(|_| self.alive.swap_remove(self.dice.below(self.alive.len()))).collect();
        if victims.is_empty() {
            return;
        }
        let mut line = vec!["delete", "pod", "--wait=false", "--ignore-not-found"];
        line.extend(victims.iter().map(String::as_str));
        self.cluster.ok(&line);
    }

    /// Who holds which address by the pool's status.
    fn held(&self) -> BTreeMap<String, Value> {
        let status = self.cluster.field("spiderippool/lan", ".status.allocatedIPs");
        if status.is_empty() { BTreeMap::new() } else { serde_json::from_str(&status).unwrap() }
    }

    /// Pods by name: whether they run, and their addresses on the second interface.
    fn pods(&self) -> BTreeMap<String, (bool, Vec<String>)> {
        let list: Value = serde_json::from_str(&self.cluster.ok(&["get", "pods", "-o", "json"])).unwrap();
        let pods = list["items"].as_array().unwrap().iter();
        pods.map(|pod| {
            let status = &pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
            let rows: Value = serde_json::from_str(status.as_str().unwrap_or("[]")).unwrap();
            let own = rows.as_array().unwrap().iter().filter(|row| row["interface"] == "net1");
            let addresses = own.flat_map(|row| row["ips"].as_array().cloned().unwrap_or_default());
            let addresses = addresses.filter_map(|ip| ip.as_str().map(str::to_owned)).collect();
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            (name, (pod["status"]["phase"] == "Running", addresses))
        })
        .collect()
    }

    /// What the lab's processes wrote about the pods of these records.
    fn said_of(&self, records: &BTreeMap<String, Value>) -> String {
        let pods = records.values().filter_map(|record| record["pod"].as_str()?.split('/').nth(1));
        let pods: Vec<String> = pods.map(str::to_owned).collect();
        let logs = self.cluster.labs.ok(&["logs"]);
        let about = |line: &&str| {
            line.split(|c: char| !c.is_alphanumeric()).any(|word| pods.iter().any(|p| p == word))
        };
        logs.lines().filter(about).collect::<Vec<_>>().join("\n")
    }

    fn everything_runs(&mut self) {
        // With the node its pods are gone, as nobody makes a bare pod again.
        let mut pods = BTreeMap::new();
        eventually("pods do not run though there are addresses", || {
            pods = self.pods();
            pods.values().all(|(runs, addresses)| *runs && !addresses.is_empty())
                && pods.keys().all(|name| self.alive.contains(name))
        });
        self.alive.retain(|name| pods.contains_key(name));
        assert!(pods.len() > ADDRESSES / 3, "enough pods are left to say something: {}", pods.len());
        let all: Vec<&String> = pods.values().flat_map(|(_, addresses)| addresses).collect();
        let distinct: BTreeSet<&String> = all.iter().copied().collect();
        assert_eq!(all.len(), distinct.len(), "an address is there twice: {pods:?}");
        let mut held = BTreeMap::new();
        let agrees = within(PATIENCE, || {
            held = self.held();
            held.keys().collect::<BTreeSet<_>>() == distinct
        });
        let unknown: Vec<_> = distinct.iter().filter(|address| !held.contains_key(**address)).collect();
        held.retain(|address, _| !distinct.contains(address));
        assert!(
            agrees,
            "held by nobody: {held:?}; not known to the pool: {unknown:?}\n{}",
            self.said_of(&held)
        );
        eventually("the checker finds something", || {
            let mut doctor = Command::new(POLYNIC);
            let output = doctor.args(["doctor", "--kubeconfig", self.cluster.kubeconfig()]).output().unwrap();
            text(&output.stdout).contains("all is well")
        });
    }
}

fn eventually(what: &str, done: impl FnMut() -> bool) {
    assert!(within(PATIENCE, done), "{what}");
}

/// Whether it comes true in time.
fn within(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    true
}
