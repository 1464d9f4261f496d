//! Who may use whom: the order of the rooms, and what some of them must never reach, directly or through others.
//!
//! The graph is that of `cargo metadata`, without development dependencies. Cargo unites the features that different crates
//! ask for there, so the graph may hold an edge that one crate built alone has not: the check errs on the strict side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The rooms in order: each may use those before it. ARCHITECTURE.md says what lives in each.
const ROOMS: [&str; 21] = [
    "net",
    "cni",
    "ipam",
    "api",
    "kernel",
    "wire",
    "flannel",
    "dhcp",
    "plugins",
    "attach",
    "explain",
    "policy",
    "checker",
    "cluster",
    "runtime",
    "install",
    "agent",
    "controller",
    "apiserver",
    "lab",
    "polynic",
];

/// Tools around the product: they may use every room, and the tools before them.
const TOOLS: [&str; 5] = ["control-plane", "e2e", "bench", "xtask", "real-node"];

const KUBE: &[&str] = &["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi"];
const NETLINK: &[&str] =
    &["netlink-sys", "netlink-packet-core", "netlink-packet-route", "netlink-packet-netfilter"];
const ASYNC: &[&str] = &["tokio", "hyper"];
const SYSTEM: &[&str] = &["rustix", "polynic-kernel"];
const NETWORKS: &[&str] =
    &["polynic-net", "polynic-cni", "polynic-kernel", "polynic-plugins", "polynic-attach"];
const ABOVE_THE_KERNEL: &[&str] = &["polynic-cni", "polynic-ipam", "polynic-api"];
/// `api` may use the data types of kube, but no client of it.
const CLIENTS: &[&str] = &["kube-client", "kube-runtime"];

/// What a room must not reach.
const FORBIDDEN: [(&str, &[&[&str]]); 10] = [
    ("net", &[KUBE, NETLINK, ASYNC, SYSTEM]),
    ("cni", &[KUBE, NETLINK, ASYNC]),
    ("ipam", &[KUBE, NETLINK]),
    ("api", &[CLIENTS, NETLINK, ASYNC, SYSTEM]),
    ("kernel", &[KUBE, ASYNC, ABOVE_THE_KERNEL]),
    ("wire", &[KUBE, ASYNC]),
    ("plugins", &[KUBE, ASYNC]),
    ("attach", &[KUBE, ASYNC]),
    ("explain", &[KUBE, NETLINK, ASYNC, SYSTEM]),
    ("apiserver", &[NETLINK, NETWORKS]),
];

/// Packages and the packages that they use.
#[derive(Debug, Default)]
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    members: Vec<String>,
}

impl Graph {
    /// Asks cargo for the graph of the workspace at `root`.
    ///
    /// # Errors
    /// Cargo fails, or its answer is not what format version 1 promises.
    pub fn of_workspace(root: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let answer = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"])
            .current_dir(root)
            .output()
            .context("running cargo metadata")?;
        ensure!(answer.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&answer.stderr));
        Self::parse(&serde_json::from_slice(&answer.stdout).context("reading the answer of cargo metadata")?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let names = names(metadata)?;
        let name = |id: &Value| -> Result<String> {
            let id = id.as_str().context("a package id is not a string")?;
            Ok(names.get(id).with_context(|| format!("package {id} is not listed"))?.clone())
        };
        let mut graph = Self::default();
        for member in list(metadata, "/workspace_members")? {
            graph.members.push(name(member)?);
        }
        for node in list(metadata, "/resolve/nodes")? {
            let used = graph.edges.entry(name(&node["id"])?).or_default();
            for dependency in list(node, "/deps")?.iter().filter(|dependency| is_built_in(dependency)) {
                used.insert(name(&dependency["pkg"])?);
            }
        }
        Ok(graph)
    }

    /// The shortest chain of packages from `start` to `target`, both included.
    fn chain(&self, start: &str, target: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([start.to_owned()]);
        let mut chains = vec![vec![start.to_owned()]];
        while !chains.is_empty() {
            if let Some(found) = chains.iter().find(|chain| chain.last().is_some_and(|last| last == target)) {
                return Some(found.clone());
            }
            chains = chains.iter().flat_map(|chain| self.longer(chain, &mut seen)).collect();
        }
        None
    }

    fn longer(&self, chain: &[String], seen: &mut BTreeSet<String>) -> Vec<Vec<String>> {
        let last = chain.last().and_then(|last| self.edges.get(last));
        let next = last.into_iter().flatten().filter(|next| seen.insert((*next).clone()));
        next.map(|next| [chain, std::slice::from_ref(next)].concat()).collect()
    }
}

fn names(metadata: &Value) -> Result<BTreeMap<&str, String>> {
    let packages = list(metadata, "/packages")?.iter();
    packages
        .map(|package| Some((package["id"].as_str()?, package["name"].as_str()?.to_owned())))
        .collect::<Option<_>>()
        .context("a package has no id or no name")
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    value.pointer(pointer).and_then(Value::as_array).with_context(|| format!("{pointer} is not a list"))
}

/// Whether a dependency ends up in the program: `kind` is null for a normal one, "build" and "dev" otherwise.
fn is_built_in(dependency: &Value) -> bool {
    dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}

pub(super) fn problems(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for member in &graph.members {
        problems.extend(name_problem(member));
        problems.extend(order_problems(graph, member));
        problems.extend(reach_problems(graph, member));
    }
    problems
}

fn room(package: &str) -> Option<&str> {
    if package == "polynic" { Some("polynic") } else { package.strip_prefix("polynic-") }
}

/// Where a package stands; tools stand behind all rooms, in their order. `None` for a package that is not a room.
fn rank(package: &str) -> Option<usize> {
    let name = room(package)?;
    let tool = TOOLS.iter().position(|tool| *tool == name).map(|at| ROOMS.len() + at);
    ROOMS.iter().position(|room| *room == name).or(tool)
}

fn name_problem(member: &str) -> Option<String> {
    rank(member)
        .is_none()
        .then(|| format!("{member}: no room of this name in ARCHITECTURE.md and tidy/directions.rs"))
}

fn order_problems(graph: &Graph, member: &str) -> Vec<String> {
    let Some(own) = rank(member) else { return Vec::new() };
    let used = graph.edges.get(member).into_iter().flatten();
    let wrong = used.filter(|used| rank(used).is_some_and(|rank| rank >= own));
    wrong
        .map(|used| format!("{member}: must not use {used}, which stands behind it in the order of rooms"))
        .collect()
}

fn reach_problems(graph: &Graph, member: &str) -> Vec<String> {
    let forbidden = FORBIDDEN.iter().filter(|(name, _)| room(member) == Some(name));
    let targets = forbidden.flat_map(|(_, groups)| groups.iter().copied().flatten());
    let chains = targets.filter_map(|target| graph.chain(member, target));
    chains.map(|chain| format!("{member}: must not reach {}", chain[1..].join(" -> "))).collect()
}

#[cfg(test)]
mod tests;
