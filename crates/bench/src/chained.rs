//! Chained plugins by executables, against the replaced ones: on a pod that has an interface, whose result both are given.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::plugin::{Plugin, alternate, timed};
use crate::report::Row;
use crate::world::World;

const ROUNDS: usize = 40;
const PEER: &str = "containernetworking-plugins";
/// Whose interface it is on which all are chained.
const CONTAINER: &str = "chained";

/// The plugins, each with what it is asked to do. `sbr` is measured by itself.
fn plugins() -> [(&'static str, Value); 4] {
    let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let rates = json!({"ingressRate": 1_000_000_000, "ingressBurst": 80_000_000, "egressRate": 1_000_000_000, "egressBurst": 80_000_000});
    [
        ("tuning", json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.net1.arp_notify": "0"}})),
        ("bandwidth", rates),
        ("firewall", json!({"backend": "iptables"})),
        ("portmap", json!({"runtimeConfig": {"portMappings": mapping}})),
    ]
}

/// ADD and DEL of each.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let first = Plugin::new(world, &world.ours, "ptp", &ptp());
    let prev = result(&first, CONTAINER).context("the interface to chain on")?;
    let mut rows = Vec::new();
    for (kind, keys) in plugins() {
        rows.extend(compare(world, kind, &keys, &prev)?);
    }
    first.call("DEL", CONTAINER)?;
    Ok(rows)
}

/// ADD and DEL of sbr, each time on an interface made for it: the replaced one does not put back what it moved.
pub(crate) fn sbr(world: &World) -> anyhow::Result<Vec<Row>> {
    let ours = |round: usize| sbr_round(world, &world.ours, round);
    let mut their_round = world.programs.peers.as_ref().map(|peers| |round| sbr_round(world, peers, round));
    let peer = their_round.as_mut().map(|f| f as _);
    let [add, del] = alternate(ROUNDS, &mut { ours }, peer)?;
    let name = |verb: &str| format!("sbr {verb}, executed");
    Ok([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)).collect())
}

fn sbr_round(world: &World, directory: &Path, round: usize) -> anyhow::Result<[Duration; 2]> {
    let container = format!("sbr-{round}");
    let first = Plugin::new(world, &world.ours, "ptp", &ptp());
    let prev = result(&first, &container).context("the interface to chain on")?;
    let conf = json!({"cniVersion": "1.0.0", "name": "chainnet", "type": "sbr", "prevResult": prev});
    let sbr = Plugin::new(world, directory, "sbr", &conf);
    let times = [sbr.call("ADD", &container)?, sbr.call("DEL", &container)?];
    first.call("DEL", &container)?;
    Ok(times)
}

fn ptp() -> Value {
    let ipam = json!({"type": "static", "addresses": [{"address": "10.40.0.2/24", "gateway": "10.40.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "1.0.0", "name": "chainnet", "type": "ptp", "ipam": ipam})
}

/// What ADD answers.
fn result(plugin: &Plugin<'_>, container: &str) -> anyhow::Result<Value> {
    let mut command = Command::new(plugin.program());
    plugin.prepare(&mut command, "ADD", container);
    let (_, stdout, success) = timed(&mut command, plugin.stdin())?;
    ensure!(success, "{}", String::from_utf8_lossy(&stdout));
    Ok(serde_json::from_slice(&stdout)?)
}

fn compare(world: &World, kind: &'static str, keys: &Value, prev: &Value) -> anyhow::Result<Vec<Row>> {
    let mut conf = keys.clone();
    for (key, value) in [("cniVersion", json!("1.0.0")), ("name", json!("chainnet")), ("type", json!(kind))] {
        conf[key] = value;
    }
    conf["prevResult"] = prev.clone();
    let ours = Plugin::new(world, &world.ours, kind, &conf);
    let theirs = world.programs.peers.as_ref().map(|directory| Plugin::new(world, directory, kind, &conf));
    let mut their_round = theirs.as_ref().map(|peer| |round| peer.attach_and_detach(round));
    let peer = their_round.as_mut().map(|f| f as _);
    let [add, del] = alternate(ROUNDS, &mut |round| ours.attach_and_detach(round), peer)?;
    let name = |verb: &str| format!("{kind} {verb}, executed");
    Ok([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)).collect())
}
