//! Network policies: what it costs to render one pod's table and to put it in force, with 10,000 pods in the cluster.
//!
//! `cargo run --release -p polynic-bench --bin polynic-bench-policy [POLICIES...]`. The tables are real ones, in a private namespace; no API
//! server is involved. Every policy concerns the pod that is looked at, and each allows 100 other pods, a block with an exception and two ports.
//! The last columns are about a full node: all of its pods are concerned by every policy, and a change of one is rendered for each of them.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use polynic_bench::process::Memory;
use polynic_kernel::netns::{self, Pod as PodSide};
use polynic_kernel::sandbox::{Options as Sandbox, enter_private};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{FwEdit, Place};
use polynic_policy::{Attachment, Index, Options, Pod, PodKey, PodTable, Policy, table};
use serde_json::json;

const PODS: u32 = 10_000;
/// Pods of a full node, as kubelets allow them.
const LOCAL: u32 = 110;
/// Pods that one policy allows.
const GROUP: u32 = 100;
const POLICIES: [u32; 4] = [10, 100, 300, 1000];
const NETNS: &str = "/run/netns/policy";
/// How often each change is measured; the median is printed.
const ROUNDS: usize = 21;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic-bench-policy: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let asked = if asked.is_empty() { POLICIES.to_vec() } else { asked };
    enter_private(Sandbox::default())?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| policies | first render | first edit | steps | a policy changes: render | edit | a peer comes: render | edit | {LOCAL} pods: first render | a policy changes: render | a peer comes: render | resident |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for count in asked {
        let figures = measure(count).with_context(|| format!("with {count} policies"))?;
        writeln!(out, "| {count} | {figures} |")?;
    }
    Ok(())
}

/// One pod's namespace with its table.
struct World {
    index: Index,
    kernel: Box<dyn Kernel>,
    applied: PodTable,
}

fn measure(count: u32) -> anyhow::Result<String> {
    let _netns = netns::create_pinned::<PodSide>(NETNS.as_ref())?;
    let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
    for number in 0..PODS {
        index.set_pod(key(number), pod(number, number / GROUP));
    }
    for number in 0..count {
        index.set_policy(policy(number, 80));
    }
    let mut kernel = RealDoor::default().open(Some(NETNS))?;
    let start = Instant::now();
    let applied = index.render(&key(0)).table.context("no policy concerns the pod")?;
    let rendered = start.elapsed();
    let edits = applied.creation();
    let edited = edit(kernel.as_mut(), &edits)?;
    let mut world = World { index, kernel, applied };
    let policy_changes = world.changes(|index, round| index.set_policy(policy(0, 81 + round)))?;
    // Pods of another group become peers of the first policy, and leave again.
    let peer_comes = world.changes(|index, round| {
        index.set_pod(key(PODS - 1), pod(PODS - 1, if round % 2 == 0 { 0 } else { PODS / GROUP - 1 }));
    })?;
    let node = Node::of(world.index)?;
    netns::unpin(NETNS.as_ref())?;
    Ok(format!(
        "{} | {} | {} | {} | {} | {} | {} | {node}",
        ms(rendered),
        ms(edited),
        edits.len(),
        ms(policy_changes[0]),
        ms(policy_changes[1]),
        ms(peer_comes[0]),
        ms(peer_comes[1])
    ))
}

/// A full node: what all of its tables cost, without the kernel.
struct Node {
    index: Index,
    tables: Vec<PodTable>,
}

impl Node {
    /// Its figures.
    fn of(index: Index) -> anyhow::Result<String> {
        let mut node = Self { index, tables: Vec::new() };
        for number in 0..LOCAL {
            node.index.set_pod(key(number), Pod { node: "n1".into(), ..pod(number, number / GROUP) });
        }
        let start = Instant::now();
        node.tables = node.render()?;
        let first = start.elapsed();
        let policy_changes = node.change(|index| index.set_policy(policy(0, 4000)))?;
        let peer_comes = node.change(|index| index.set_pod(key(PODS - 1), pod(PODS - 1, 0)))?;
        let resident = Memory::of(std::process::id())?.resident;
        Ok(format!("{} | {} | {} | {resident:.0} MiB", ms(first), ms(policy_changes), ms(peer_comes)))
    }

    fn render(&mut self) -> anyhow::Result<Vec<PodTable>> {
        let table = |number| self.index.render(&key(number)).table.context("no policy concerns the pod");
        (0..LOCAL).map(table).collect()
    }

    /// Hearing of a change, rendering and comparing all tables.
    fn change(&mut self, change: impl Fn(&mut Index)) -> anyhow::Result<Duration> {
        let start = Instant::now();
        change(&mut self.index);
        let tables = self.render()?;
        let edits = tables.iter().zip(&self.tables).map(|(new, old)| new.edits_from(old).len());
        anyhow::ensure!(edits.sum::<usize>() > 0, "a change changes nothing");
        let took = start.elapsed();
        self.tables = tables;
        Ok(took)
    }
}

impl World {
    /// The medians of hearing and rendering, and of editing, over some rounds of a change.
    fn changes(&mut self, change: impl Fn(&mut Index, u16)) -> anyhow::Result<[Duration; 2]> {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            let start = Instant::now();
            change(&mut self.index, u16::try_from(round)?);
            let wanted = self.index.render(&key(0)).table.context("no policy concerns the pod")?;
            let edits = wanted.edits_from(&self.applied);
            times[0].push(start.elapsed());
            times[1].push(edit(self.kernel.as_mut(), &edits)?);
            self.applied = wanted;
        }
        Ok(times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        }))
    }
}

fn edit(kernel: &mut dyn Kernel, edits: &[FwEdit]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    kernel.edit_table(Place::Pod, &table(), edits)?;
    Ok(start.elapsed())
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn key(number: u32) -> PodKey {
    PodKey::new("shop", &format!("pod{number}"))
}

fn pod(number: u32, group: u32) -> Pod {
    let attachment = Attachment {
        network: "shop/lan".into(),
        interface: "net1".into(),
        addresses: vec![std::net::Ipv4Addr::from(0x0a3c_0000 + number).into()],
    };
    Pod {
        labels: [("group".to_owned(), group.to_string())].into(),
        node: if number == 0 { "n1".into() } else { "far".into() },
        selects_networks: true,
        attachments: vec![attachment],
        ..Pod::default()
    }
}

fn policy(number: u32, port: u16) -> Policy {
    let group = number % (PODS / GROUP);
    let from = json!([
        {"podSelector": {"matchLabels": {"group": group.to_string()}}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": [format!("10.{}.0.0/16", number % 256)]}},
    ]);
    let metadata = json!({"name": format!("p{number}"), "namespace": "shop",
        "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan"}});
    let ports = json!([{"port": port}, {"protocol": "UDP", "port": 5000, "endPort": 5010}]);
    let spec = json!({"podSelector": {}, "ingress": [{"from": from, "ports": ports}]});
    Policy::parse(&json!({"metadata": metadata, "spec": spec}))
}
