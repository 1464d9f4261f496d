//! Time, nodes and chance.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;
use std::sync::Arc;

use polynic_net::Entropy;

use super::kubelet::{KubeletStep, SimPod};
use super::network::Call;
use super::{Api, Sabotage, collector};
use crate::{Allocator, Effect, Event, Millis, PodKey, Pool, PoolSpec, RequestId, Settings};

/// How often what goes wrong, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// A write is done, and its answer is lost.
    pub lost_answers: u64,
    /// A write is lost.
    pub lost_writes: u64,
    /// A write is answered as unknown and done later.
    pub late_writes: u64,
    /// A read fails.
    pub failed_reads: u64,
    /// Of the steps: an agent crashes.
    pub crashes: u64,
    /// Caches lag up to so many milliseconds.
    pub lag: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self =
        Self { lost_answers: 0, lost_writes: 0, late_writes: 0, failed_reads: 0, crashes: 0, lag: 5 };
    /// Everything goes wrong, often.
    pub const MANY: Self =
        Self { lost_answers: 40, lost_writes: 40, late_writes: 40, failed_reads: 40, crashes: 2, lag: 400 };
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Names that pods have; each exists or not.
    pub names: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// How the API server is broken.
    pub sabotage: Sabotage,
    /// The collector does not look whether a pod still exists.
    pub blind_collector: bool,
    /// Is told everything that happens.
    pub narrator: Option<fn(&str)>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps of the world.
    pub steps: u64,
    /// ADDs and DELs.
    pub requests: u64,
    /// ADDs that were granted.
    pub granted: u64,
    /// Reads and writes of the API.
    pub calls: u64,
    /// Pool writes that met a conflict.
    pub conflicts: u64,
    /// Crashes of agents.
    pub crashes: u64,
}

impl Tally {
    /// Requests and API calls.
    pub fn operations(&self) -> u64 {
        self.requests + self.calls
    }
}

/// A pod that uses addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBy {
    /// The pod.
    pub pod: PodKey,
    /// Its UID.
    pub uid: String,
    /// The addresses in its sandbox.
    pub in_use: Vec<IpAddr>,
}

/// What happens at a moment.
#[derive(Clone, Debug)]
pub(super) enum Occurrence {
    /// An agent gets an event, if it is the one that it is for.
    Agent { node: usize, life: u32, event: Event },
    /// A call arrives at the API server.
    Arrives { node: usize, life: u32, call: Call },
    /// A cache gets to know a pool.
    CacheSees { node: usize, pool: Arc<Pool> },
    /// A kubelet goes on with a pod.
    Kubelet { uid: String, step: KubeletStep },
    /// Users create, delete and scale.
    Users,
    /// The collector looks at all records.
    Collect,
    /// The collector carries out what it decided.
    Release(collector::Sentence),
    /// A replaced agent in the cluster rewrites a pool and drops what it does not know.
    Foreign,
    /// A release that was written to disk is tried again.
    Replay { node: usize, pod: PodKey, uid: String },
}

pub(super) struct Node {
    pub(super) allocator: Allocator,
    /// Grows with each crash: answers to an earlier life are lost.
    pub(super) life: u32,
    pub(super) cache: BTreeMap<String, Arc<Pool>>,
    /// Requests of its kubelet that are not answered.
    pub(super) open: BTreeMap<RequestId, Open>,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) uid: String,
    pub(super) deadline: Millis,
}

/// The world.
pub struct World {
    pub(super) options: WorldOptions,
    pub(super) settings: Settings,
    pub(super) now: Millis,
    pub(super) chance: Entropy,
    pub(super) api: Api,
    pub(super) nodes: Vec<Node>,
    /// Pods by UID, until their sandbox is gone.
    pub(super) pods: BTreeMap<String, SimPod>,
    pub(super) replicas: u32,
    pub(super) next: u64,
    pub(super) tally: Tally,
    /// Faults happen and users are at work.
    pub(super) lively: bool,
    /// Pods whose agent crashed before their endpoint was written.
    pub(super) unlisted: Vec<PodKey>,
    /// What must never happen and did.
    pub(super) broken: Option<String>,
    pub(super) dirty: bool,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

struct Entry {
    at: Millis,
    order: u64,
    what: Occurrence,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl World {
    /// A world with two small IPv4 pools and one of IPv6, in which nothing has happened.
    pub fn new(options: WorldOptions) -> Self {
        let mut api = Api::default();
        api.sabotage = options.sabotage;
        for (name, subnet, ips) in [
            ("blue", "10.1.0.0/24", "10.1.0.1-10.1.0.12"),
            ("green", "10.2.0.0/24", "10.2.0.1-10.2.0.5"),
            ("six", "fd00::/48", "fd00::1-fd00::ffff:ffff:ffff:ffff"),
        ] {
            // These texts are well formed.
            if let (Ok(subnet), Ok(range)) = (subnet.parse(), ips.parse()) {
                api.put_pool(name, PoolSpec::new(subnet, vec![range]));
            }
        }
        let settings = Settings { avoid_millis: 2_000, ..Settings::default() };
        let mut world = Self {
            settings,
            now: Millis(0),
            chance: Entropy::new(options.seed),
            api,
            nodes: Vec::new(),
            pods: BTreeMap::new(),
            replicas: 2,
            next: 0,
            tally: Tally::default(),
            lively: true,
            unlisted: Vec::new(),
            broken: None,
            dirty: false,
            queue: BinaryHeap::new(),
            order: 0,
            options,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        for node in 0..self.options.nodes {
            let allocator =
                Allocator::new(self.settings.clone(), Entropy::new(self.options.seed ^ (node as u64 + 1)));
            let cache = self.api.pools.clone();
            self.nodes.push(Node { allocator, life: 0, cache, open: BTreeMap::new() });
        }
        self.set_replicas(2);
        self.after(1, Occurrence::Users);
        self.after(500, Occurrence::Collect);
        self.after(300, Occurrence::Foreign);
    }

    /// Does the next thing; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let Some(Reverse(entry)) = self.queue.pop() else { return false };
        self.now = self.now.max(entry.at);
        self.tally.steps += 1;
        self.dirty = false;
        self.narrate(|| format!("{:?} {:?}", self.now, entry.what));
        self.occur(entry.what);
        if self.lively && self.one_in_thousand(self.options.faults.crashes) {
            self.crash();
        }
        self.check_deadlines();
        true
    }

    /// From here on nothing fails, and users keep no more pods than there are addresses for.
    pub fn calm_down(&mut self) {
        self.lively = false;
        let index = |key: &PodKey| key.name.trim_start_matches('p').parse::<u64>().unwrap_or_default();
        let many: Vec<PodKey> = self.api.pods.keys().filter(|key| index(key) >= 9).cloned().collect();
        for key in many {
            self.delete_pod(&key, 1);
        }
    }

    /// Users delete all pods.
    pub fn delete_everything(&mut self) {
        self.set_replicas(0);
        let all: Vec<PodKey> = self.api.pods.keys().cloned().collect();
        for key in all {
            self.delete_pod(&key, 1);
        }
    }

    /// Whether no request is under way and no pod is on its way in or out.
    pub fn is_settled(&self) -> bool {
        let agents = self.nodes.iter().all(|node| node.open.is_empty() && node.allocator.is_idle());
        agents && self.pods.values().all(SimPod::is_settled)
    }

    /// The API server's objects.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Pods that exist and use addresses.
    pub fn users(&self) -> Vec<UsedBy> {
        let existing = |pod: &&SimPod| self.api.pods.get(&pod.key).is_some_and(|own| own.uid == pod.uid);
        let used = self.pods.values().filter(existing).filter(|pod| !pod.in_use.is_empty());
        used.map(|pod| UsedBy { pod: pod.key.clone(), uid: pod.uid.clone(), in_use: pod.addresses() })
            .collect()
    }

    /// Pods that have no endpoint because their agent crashed in the moment before it was written.
    pub fn unlisted(&self) -> &[PodKey] {
        &self.unlisted
    }

    /// Whether the last step changed an object, or gave somebody an address.
    pub fn has_changed(&self) -> bool {
        self.dirty
    }

    /// What was done.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What must never happen and did: a request past its deadline, an address that changed under a pod.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The time in the world.
    pub fn now(&self) -> Millis {
        self.now
    }

    fn occur(&mut self, what: Occurrence) {
        match what {
            Occurrence::Agent { node, life, event } => self.inform(node, life, event),
            Occurrence::Arrives { node, life, call } => self.arrives(node, life, call),
            Occurrence::CacheSees { node, pool } => self.cache_sees(node, pool),
            Occurrence::Kubelet { uid, step } => self.kubelet(&uid, step),
            Occurrence::Users => self.users_act(),
            Occurrence::Collect => self.collect(),
            Occurrence::Release(sentence) => self.release(&sentence),
            Occurrence::Foreign => self.foreign_write(),
            Occurrence::Replay { node, pod, uid } => self.replay(node, &pod, &uid),
        }
    }

    pub(super) fn after(&mut self, millis: u64, what: Occurrence) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: self.now.plus(millis), order: self.order, what }));
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.chance.bits() % n.max(1)
    }

    pub(super) fn one_in_thousand(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// Gives an event to an agent of that life and sends out what it wants done.
    pub(super) fn inform(&mut self, node: usize, life: u32, event: Event) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.now;
        let effects = self.nodes[node].allocator.step(now, event);
        for effect in effects {
            self.narrate(|| format!("    node {node} {effect:?}"));
            match effect {
                Effect::Answer(id, answer, _) => self.answered(node, id, answer),
                Effect::WakeAt(then) => {
                    let wait = then.since(now);
                    self.after(wait, Occurrence::Agent { node, life, event: Event::Time });
                }
                Effect::Warn(_) => {}
                call => self.send(node, call),
            }
        }
    }

    fn narrate(&self, line: impl FnOnce() -> String) {
        if let Some(narrator) = self.options.narrator {
            narrator(&line());
        }
    }

    /// An agent loses everything it knows; what it has sent is on its way.
    fn crash(&mut self) {
        let node = self.below(self.nodes.len() as u64) as usize;
        self.tally.crashes += 1;
        let seed = self.chance.bits();
        let allocator = Allocator::new(self.settings.clone(), Entropy::new(seed));
        let own = &mut self.nodes[node];
        self.unlisted.extend(own.allocator.unwritten_endpoints().cloned());
        own.allocator = allocator;
        own.life += 1;
        let lost: Vec<Open> = std::mem::take(&mut own.open).into_values().collect();
        for open in lost {
            self.connection_lost(&open.uid);
        }
    }

    fn check_deadlines(&mut self) {
        let now = self.now;
        let late =
            self.nodes.iter().flat_map(|node| &node.open).find(|(_, open)| open.deadline.plus(1) < now);
        if let Some((id, open)) = late {
            self.broken = Some(format!(
                "request {id:?} of {} is past its deadline {:?} at {now:?}",
                open.uid, open.deadline
            ));
        }
    }

    /// A replaced agent writes a pool: it knows no interfaces.
    fn foreign_write(&mut self) {
        self.after(700, Occurrence::Foreign);
        if !self.lively {
            return;
        }
        let at = self.below(self.api.pools.len() as u64) as usize;
        if let Some(name) = self.api.pools.keys().nth(at).cloned() {
            self.api.strip_interfaces(&name);
            self.pool_changed(&name);
        }
    }

    pub(super) fn set_replicas(&mut self, replicas: u32) {
        self.replicas = replicas;
        let owner = crate::FixedOwner::StatefulSet { name: "db".to_owned(), start: 0, replicas };
        self.api.fixed_owners.insert(PodKey::new("sim", "db"), owner);
    }
}
