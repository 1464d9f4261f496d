//! The world of the scale report: many nodes, one pool, every node starts pods at about the same time, nothing fails.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use polynic_net::Entropy;

use super::Api;
use crate::{
    AddRequest, Allocator, Answer, Effect, Event, Millis, Pacing, Pod, PodKey, Pool, PoolSpec, RequestId,
    Settings, WriteError,
};

/// What the storm is like. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Nodes, each with an allocator.
    pub nodes: usize,
    /// Pods that start on each node.
    pub pods_per_node: usize,
    /// All pods start within this time.
    pub within: u64,
    /// How the allocators pace their writes.
    pub pacing: Pacing,
    /// Everything follows from it.
    pub seed: u64,
}

/// One way to the API server or back, at least, and what chance adds.
const TRAVEL: (u64, u64) = (1, 2);

/// What a write of the pool takes in the API server and its database; writes of one object come one after the other.
const WRITE: u64 = 3;

/// What a watch takes to show a write, at least, and what chance adds.
const WATCH: (u64, u64) = (2, 8);

/// How long a caller waits: the replaced plugin's time limit (spec/spiderpool.md section 4).
const PATIENCE: u64 = 100_000;

/// What came of it. Times in milliseconds of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormReport {
    /// Pods that got an address.
    pub granted: u64,
    /// Pods that did not.
    pub failed: u64,
    /// Pool writes that were sent.
    pub pool_writes: u64,
    /// Those that met a conflict.
    pub conflicts: u64,
    /// Live reads of the pool.
    pub pool_reads: u64,
    /// The middle wait of a pod.
    pub p50: u64,
    /// The wait that one pod in a hundred exceeds.
    pub p99: u64,
    /// When the last pod was answered.
    pub end: u64,
}

/// Runs a storm.
pub fn storm(storm: Storm) -> StormReport {
    let mut run = Run::new(storm);
    while let Some(Reverse(Entry { at, what, .. })) = run.queue.pop() {
        run.now = run.now.max(at);
        run.occur(what);
    }
    run.report()
}

enum Occurrence {
    Start { node: usize, pod: u64 },
    Agent { node: usize, event: Event },
    Arrives { node: usize, effect: Effect },
    Written { node: usize, pool: String, written: Result<String, WriteError> },
}

struct Entry {
    at: u64,
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

struct Run {
    settings: Settings,
    chance: Entropy,
    now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    api: Api,
    agents: Vec<Allocator>,
    started: BTreeMap<RequestId, u64>,
    waits: Vec<u64>,
    failed: u64,
    end: u64,
    /// When the database is free to write the pool again.
    busy_until: u64,
}

impl Run {
    fn new(storm: Storm) -> Self {
        let settings = Settings { pacing: storm.pacing, max_records: usize::MAX, ..Settings::default() };
        let mut chance = Entropy::new(storm.seed);
        let mut api = Api::default();
        // These texts are well formed.
        if let (Ok(subnet), Ok(range)) = ("10.0.0.0/8".parse(), "10.0.0.1-10.255.255.254".parse()) {
            api.put_pool("pool", PoolSpec::new(subnet, vec![range]));
        }
        let allocator = |chance: &mut Entropy| Allocator::new(settings.clone(), Entropy::new(chance.bits()));
        let agents = (0..storm.nodes).map(|_| allocator(&mut chance)).collect();
        let mut run = Self {
            settings,
            chance,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            api,
            agents,
            started: BTreeMap::new(),
            waits: Vec::new(),
            failed: 0,
            end: 0,
            busy_until: 0,
        };
        run.schedule(storm);
        run
    }

    fn schedule(&mut self, storm: Storm) {
        for pod in 0..(storm.nodes * storm.pods_per_node) as u64 {
            let node = pod as usize % storm.nodes;
            let key = PodKey::new("storm", format!("p{pod}"));
            self.api.put_pod(Pod::new(key, format!("u{pod}"), format!("n{node}")));
            let at = self.chance.bits() % storm.within.max(1);
            self.at(at, Occurrence::Start { node, pod });
        }
    }

    fn at(&mut self, at: u64, what: Occurrence) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at, order: self.order, what }));
    }

    fn later(&mut self, (least, more): (u64, u64), what: Occurrence) {
        let at = self.now + least + self.chance.bits() % (more + 1);
        self.at(at, what);
    }

    fn occur(&mut self, what: Occurrence) {
        match what {
            Occurrence::Start { node, pod } => self.start(node, pod),
            Occurrence::Agent { node, event } => self.inform(node, event),
            Occurrence::Arrives { node, effect } => self.arrives(node, effect),
            Occurrence::Written { node, pool, written } => {
                self.later(TRAVEL, Occurrence::Agent { node, event: Event::PoolWritten(pool, written) });
            }
        }
    }

    fn start(&mut self, node: usize, pod: u64) {
        let id = RequestId(pod);
        self.started.insert(id, self.now);
        let request = AddRequest {
            pod: PodKey::new("storm", format!("p{pod}")),
            uid: format!("u{pod}"),
            container_id: "c".to_owned(),
            nic: "eth0".to_owned(),
            default_ipv4_pools: vec!["pool".to_owned()],
            default_ipv6_pools: Vec::new(),
            clean_gateway: false,
            master_addresses: None,
            deadline: Millis(self.now + PATIENCE),
        };
        self.inform(node, Event::Add(id, request));
    }

    fn inform(&mut self, node: usize, event: Event) {
        let effects = self.agents[node].step(Millis(self.now), event);
        for effect in effects {
            match effect {
                Effect::Answer(id, answer, _) => self.answered(id, &answer),
                Effect::WakeAt(then) => self.at(then.0, Occurrence::Agent { node, event: Event::Time }),
                Effect::Warn(_) => {}
                call => self.later(TRAVEL, Occurrence::Arrives { node, effect: call }),
            }
        }
    }

    fn answered(&mut self, id: RequestId, answer: &Answer) {
        let start = self.started.remove(&id).unwrap_or_default();
        self.end = self.now;
        match answer {
            Answer::Granted(_) => self.waits.push(self.now - start),
            _ => self.failed += 1,
        }
    }

    fn arrives(&mut self, node: usize, effect: Effect) {
        let event = match effect {
            Effect::WritePool(write) => return self.write(node, &write),
            Effect::Observe { id, pod, .. } => {
                let pools: Vec<Arc<Pool>> = self.api.pools.values().cloned().collect();
                Event::Observed(id, Box::new(Ok(self.api.observe(&self.settings, &pod, pools))))
            }
            Effect::ReadPool(name) => {
                let pool = self.api.pools.get(&name).cloned();
                Event::PoolRead(name, Ok(pool))
            }
            Effect::ReadEndpoint(key) => {
                let endpoint = self.api.endpoints.get(&key).cloned();
                Event::EndpointRead(key, Box::new(Ok(endpoint)))
            }
            Effect::WriteEndpoint(write) => {
                Event::EndpointWritten(write.key().clone(), self.api.write_endpoint(&write))
            }
            Effect::Answer(..) | Effect::WakeAt(_) | Effect::Warn(_) => return,
        };
        self.later(TRAVEL, Occurrence::Agent { node, event });
    }

    /// A write that is based on an old version is refused at once; the others queue for the database.
    fn write(&mut self, node: usize, write: &crate::PoolWrite) {
        let written = self.api.write_pool(write);
        let pool = write.pool.clone();
        if written.is_err() {
            return self.at(self.now, Occurrence::Written { node, pool, written });
        }
        self.busy_until = self.busy_until.max(self.now) + WRITE;
        self.at(self.busy_until, Occurrence::Written { node, pool, written });
        self.show();
    }

    /// Every watch shows the pool; agents that wait for nothing are not told, because they would do nothing.
    fn show(&mut self) {
        let Some(pool) = self.api.pools.get("pool").cloned() else { return };
        let wait = self.busy_until - self.now;
        for node in 0..self.agents.len() {
            if !self.agents[node].is_idle() {
                let (least, more) = WATCH;
                self.later(
                    (least + wait, more),
                    Occurrence::Agent { node, event: Event::PoolSeen(pool.clone()) },
                );
            }
        }
    }

    fn report(mut self) -> StormReport {
        self.waits.sort_unstable();
        let at = |percent: usize| self.waits.get(self.waits.len().saturating_sub(1) * percent / 100).copied();
        let sum = |count: fn(&Allocator) -> u64| self.agents.iter().map(count).sum();
        StormReport {
            granted: self.waits.len() as u64,
            failed: self.failed,
            pool_writes: sum(|agent| agent.counters().pool_writes),
            conflicts: sum(|agent| agent.counters().pool_conflicts),
            pool_reads: sum(|agent| agent.counters().pool_reads),
            p50: at(50).unwrap_or_default(),
            p99: at(99).unwrap_or_default(),
            end: self.end,
        }
    }
}
