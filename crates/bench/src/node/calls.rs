//! Calls as a container runtime makes them, with a clock.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use polynic_bench::cluster::Pod;
use polynic_bench::process::Memory;
use polynic_kernel::netns::{self, Netns, Pod as Place, create_pinned};

use crate::world::{Kind, NODE, World};

/// Rounds that are not counted: caches fill.
const WARM_UP: usize = 3;
/// A pause in which an agent gives back what a burst needed.
const QUIET: Duration = Duration::from_secs(2);
/// Stack of a thread that waits for a shim, in bytes.
const STACK: usize = 256 << 10;

/// A pod with the namespace that its runtime has made.
struct Sandbox {
    pod: Pod,
    container: String,
    path: PathBuf,
    _netns: Netns<Place>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = netns::unpin(&self.path);
    }
}

fn sandboxes(world: &World, kind: Kind, count: usize) -> anyhow::Result<Vec<Sandbox>> {
    let pods = world.cluster.named_pods(NODE, &unique(kind), count, &kind.annotations())?;
    pods.into_iter().map(sandbox).collect()
}

fn unique(kind: Kind) -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    format!("{}-{}", kind.prefix(), COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn sandbox(pod: Pod) -> anyhow::Result<Sandbox> {
    let path = Path::new("/run/netns").join(&pod.name);
    let netns = create_pinned(&path)?;
    Ok(Sandbox { container: format!("c-{}", pod.name), pod, path, _netns: netns })
}

/// Calls the shim, from the start of the process to its end.
fn shim(world: &World, verb: &str, sandbox: &Sandbox, conf: &str) -> anyhow::Result<Duration> {
    let mut command = Command::new(world.binaries.join("multus-shim"));
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        sandbox.pod.name, sandbox.container, sandbox.pod.uid
    );
    command.env_clear().env("CNI_COMMAND", verb).env("CNI_CONTAINERID", &sandbox.container);
    command.env("CNI_NETNS", &sandbox.path).env("CNI_IFNAME", "eth0").env("CNI_ARGS", args);
    command.env("CNI_PATH", &world.binaries);
    let (time, output) = timed(&mut command, conf)?;
    ensure!(
        output.status.success(),
        "{verb} of {}: {}",
        sandbox.pod.name,
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(time)
}

fn timed(command: &mut Command, stdin: &str) -> io::Result<(Duration, std::process::Output)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read it is no error.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let output = child.wait_with_output()?;
    Ok((start.elapsed(), output))
}

/// A process that does nothing, with the same pipes.
fn nothing(world: &World, conf: &str) -> anyhow::Result<Duration> {
    let empty = std::env::current_exe()?.with_file_name("polynic-bench-empty");
    ensure!(empty.is_file(), "{} is not there: build -p polynic-bench", empty.display());
    let mut command = Command::new(empty);
    command.env_clear().env("CNI_PATH", &world.binaries);
    Ok(timed(&mut command, conf)?.0)
}

/// Pods that come and go one after the other, each beside an empty process.
pub(crate) fn one_by_one(world: &World, kind: Kind, count: usize) -> anyhow::Result<()> {
    let conf = world.conf(kind)?;
    let (mut adds, mut dels, mut spawns, mut beyond) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let cpu = world.cpu()?;
    for (round, sandbox) in sandboxes(world, kind, count + WARM_UP)?.iter().enumerate() {
        let spawn = nothing(world, &conf)?;
        let add = shim(world, "ADD", sandbox, &conf)?;
        let del = shim(world, "DEL", sandbox, &conf)?;
        if round >= WARM_UP {
            adds.push(add);
            dels.push(del);
            spawns.push(spawn);
            beyond.push(add.saturating_sub(spawn));
        }
    }
    let cpu = (world.cpu()?.saturating_sub(cpu)) / u32::try_from(count + WARM_UP)?;
    let [add, del, spawn, beyond] = [adds, dels, spawns, beyond].map(Spread::of);
    let mut out = io::stdout();
    writeln!(out, "\none by one, {count} pods with {}", kind.name())?;
    writeln!(out, "  ADD by the shim {add}; beyond an empty process {beyond}; the empty process {spawn}")?;
    writeln!(out, "  DEL by the shim {del}")?;
    Ok(writeln!(out, "  processor time of the agent for one ADD and DEL {:.2} ms", ms(cpu))?)
}

/// Pods that all come at the same time, and go at the same time.
pub(crate) fn at_once(world: &World, kind: Kind, count: usize) -> anyhow::Result<()> {
    let conf = world.conf(kind)?;
    let all = sandboxes(world, kind, count)?;
    let before = (world.memory()?, world.cpu()?);
    let (took, adds) = burst(world, "ADD", &all, &conf)?;
    let memory = world.memory()?;
    let cpu = world.cpu()?.saturating_sub(before.1);
    thread::sleep(QUIET);
    let later = world.memory()?;
    let (gone, dels) = burst(world, "DEL", &all, &conf)?;
    let mut out = io::stdout();
    writeln!(out, "\n{count} at once, pods with {}", kind.name())?;
    writeln!(
        out,
        "  ADD: all in {:.2} s, each {}; processor time of the agent {:.2} s",
        took.as_secs_f64(),
        Spread::of(adds),
        cpu.as_secs_f64()
    )?;
    writeln!(out, "  DEL: all in {:.2} s, each {}", gone.as_secs_f64(), Spread::of(dels))?;
    weight("before", before.0)?;
    weight("with all of them", memory)?;
    weight("with all of them, a moment later", later)?;
    weight("afterwards", world.memory()?)
}

/// The same call for all at the same moment; the time of all and those of each.
fn burst(
    world: &World,
    verb: &'static str,
    all: &[Sandbox],
    conf: &str,
) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let barrier = Barrier::new(all.len() + 1);
    let (seen, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let mut start = Instant::now();
    thread::scope(|scope| -> anyhow::Result<()> {
        for sandbox in all {
            let call = || {
                barrier.wait();
                let start = Instant::now();
                match shim(world, verb, sandbox, conf) {
                    Ok(_) => seen.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed()),
                    Err(why) => failed.lock().unwrap_or_else(PoisonError::into_inner).push(why),
                }
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, call)?;
        }
        start = Instant::now();
        barrier.wait();
        Ok(())
    })?;
    let took = start.elapsed();
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = failed.len();
    if let Some(first) = failed.into_iter().next() {
        return Err(first).with_context(|| format!("{count} calls failed"));
    }
    Ok((took, seen.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// The agent's memory with so many pods attached.
pub(crate) fn weigh(world: &World, kind: Kind, steps: &[usize]) -> anyhow::Result<()> {
    let conf = world.conf(kind)?;
    let mut out = io::stdout();
    writeln!(out, "\nmemory with pods that have {}", kind.name())?;
    weight("with none", world.memory()?)?;
    let mut attached = Vec::new();
    for step in steps {
        let more = sandboxes(world, kind, step - attached.len())?;
        for sandbox in more {
            shim(world, "ADD", &sandbox, &conf)?;
            attached.push(sandbox);
        }
        weight(&format!("with {step}"), world.memory()?)?;
    }
    let (_, _) = burst(world, "DEL", &attached, &conf)?;
    weight("with none again", world.memory()?)
}

fn weight(when: &str, memory: Memory) -> anyhow::Result<()> {
    let Memory { resident, own } = memory;
    Ok(writeln!(
        io::stdout(),
        "  memory of the agent {when}: {resident:.1} MiB, {own:.1} without the program's file"
    )?)
}

/// Median, tenth and ninety-ninth percentile.
struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    fn at(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().map(ms).unwrap_or_default()
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ms (p10 {:.2}, p99 {:.2})", self.at(50), self.at(10), self.at(99))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
