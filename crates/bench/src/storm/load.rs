//! A storm: all pods ask at the same moment, and again when they fail, as a runtime would.

use std::path::Path;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use polynic_bench::cluster::{Cluster, Pod};
use polynic_bench::process::Memory;
use polynic_wire::messages::AddRequest;
use polynic_wire::{AddressService, SocketService};

use crate::agents::{Agent, Counts};

/// How long a pod goes on asking.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// Stack of a thread that asks, in bytes.
const STACK: usize = 256 << 10;

/// What is measured.
pub(crate) struct Storm {
    pub(crate) name: &'static str,
    pub(crate) agents: usize,
    /// Of each agent.
    pub(crate) pods: usize,
    /// Addresses of both families.
    pub(crate) dual: bool,
    /// Addresses of the pool that are taken before.
    pub(crate) taken: usize,
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) total: Duration,
    /// From the beginning to the address, for each pod, sorted.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) failed_attempts: usize,
    pub(crate) counts: Counts,
    /// The largest agent.
    pub(crate) memory: Memory,
    /// Processor time of all agents, from the beginning of the storm to its end.
    pub(crate) cpu: Duration,
}

/// Runs a storm on pools of its own.
pub(crate) fn run(storm: &Storm, cluster: &Cluster, program: &Path) -> anyhow::Result<Outcome> {
    let tag: String = storm.name.chars().filter(char::is_ascii_alphanumeric).collect();
    let tag = tag.to_ascii_lowercase();
    let size = storm.taken + storm.agents * storm.pods;
    let mut pools = vec![format!("{tag}-v4")];
    pools.extend(storm.dual.then(|| format!("{tag}-v6")));
    for pool in &pools {
        cluster.pool(pool, size, storm.taken)?;
    }
    let nodes: Vec<String> = (0..storm.agents).map(|n| format!("{tag}-{n}")).collect();
    cluster.nodes(&nodes);
    let mut agents = Vec::new();
    let mut pods = Vec::new();
    for node in &nodes {
        pods.push(cluster.pods(node, storm.pods, &pools)?);
        agents.push(Agent::start(program, cluster.directory(), node, cluster.kubeconfig())?);
    }
    let outcome = blow(&agents, &pods)?;
    ensure!(outcome.latencies.len() == storm.agents * storm.pods, "some pods got no address");
    Ok(outcome)
}

#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    addresses: Vec<String>,
    failed_attempts: usize,
}

fn blow(agents: &[Agent], pods: &[Vec<Pod>]) -> anyhow::Result<Outcome> {
    let count: usize = pods.iter().map(Vec::len).sum();
    let barrier = Barrier::new(count + 1);
    let seen = Mutex::new(Seen::default());
    let start = Mutex::new(Instant::now());
    let cpu = || agents.iter().map(Agent::cpu).sum::<anyhow::Result<Duration>>();
    let cpu_before = cpu()?;
    thread::scope(|scope| -> anyhow::Result<()> {
        for (agent, pods) in agents.iter().zip(pods) {
            for pod in pods {
                let ask = || {
                    barrier.wait();
                    ask(&agent.service, pod, &seen);
                };
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, ask)?;
            }
        }
        *start.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        barrier.wait();
        Ok(())
    })
    .context("starting the threads that ask")?;
    let cpu = cpu()?.saturating_sub(cpu_before);
    let total = start.into_inner().unwrap_or_else(PoisonError::into_inner).elapsed();
    let Seen { mut latencies, mut addresses, failed_attempts } =
        seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    latencies.sort();
    addresses.sort();
    ensure!(addresses.windows(2).all(|pair| pair[0] != pair[1]), "an address was given twice");
    let mut counts = Counts::default();
    let mut memory = Memory::default();
    for agent in agents {
        let of_one = agent.counts()?;
        counts.pool_writes += of_one.pool_writes;
        counts.pool_reads += of_one.pool_reads;
        counts.conflicts += of_one.conflicts;
        counts.endpoint_writes += of_one.endpoint_writes;
        memory = memory.max(agent.memory()?);
    }
    Ok(Outcome { total, latencies, failed_attempts, counts, memory, cpu })
}

fn ask(service: &SocketService, pod: &Pod, seen: &Mutex<Seen>) {
    let start = Instant::now();
    let request = AddRequest {
        container_id: format!("c-{}", pod.name),
        if_name: "eth0".into(),
        net_namespace: "/run/netns/x".into(),
        pod_namespace: "default".into(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        ..AddRequest::default()
    };
    while start.elapsed() < PATIENCE {
        let answer = service.allocate(&request, Instant::now() + PATIENCE);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(response) => {
                seen.latencies.push(start.elapsed());
                seen.addresses.extend(response.ips.into_iter().map(|ip| ip.address));
                return;
            }
            Err(_) => seen.failed_attempts += 1,
        }
        drop(seen);
        thread::sleep(PAUSE);
    }
}

/// The memory of one agent while so many of its pods hold addresses.
pub(crate) fn weigh(
    steps: &[usize],
    cluster: &Cluster,
    program: &Path,
) -> anyhow::Result<Vec<(usize, Memory)>> {
    let node = "weighed".to_owned();
    let pool = "weighed-v4".to_owned();
    let most = steps.iter().copied().max().unwrap_or_default();
    cluster.pool(&pool, most, 0)?;
    cluster.nodes(std::slice::from_ref(&node));
    let pods = cluster.pods(&node, most, std::slice::from_ref(&pool))?;
    let agent = Agent::start(program, cluster.directory(), &node, cluster.kubeconfig())?;
    let mut weights = vec![(0, agent.memory()?)];
    let mut done = 0;
    for step in steps {
        let seen = Mutex::new(Seen::default());
        pods[done..*step].iter().for_each(|pod| ask(&agent.service, pod, &seen));
        done = *step;
        weights.push((*step, agent.memory()?));
    }
    Ok(weights)
}
