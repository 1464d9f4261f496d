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

/// The plugins, each with what it is asked to do.
fn plugins() -> [(&'static str, Value); 5] {
    let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let rates = json!({"ingressRate": 1_000_000_000, "ingressBurst": 80_000_000, "egressRate": 1_000_000_000, "egressBurst": 80_000_000});
    [
        ("tuning", json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.net1.arp_notify": "0"}})),
        ("bandwidth", rates),
        ("firewall", json!({"backend": "iptables"})),
        ("portmap", json!({"runtimeConfig": {"portMappings": mapping}})),
        ("sbr", json!({})),
    ]
}

/// ADD and DEL of each.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, keys) in plugins() {
        let asked = (kind, &keys);
        let mut our_round = |round| once(world, &world.ours, asked, round);
        let peers = world.programs.peers.as_ref();
        let mut their_round = peers.map(|peers| move |round| once(world, peers, asked, round));
        let peer = their_round.as_mut().map(|f| f as _);
        let [add, del] = alternate(ROUNDS, &mut our_round, peer)?;
        let name = |verb: &str| format!("{kind} {verb}, executed");
        rows.extend([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)));
    }
    Ok(rows)
}

/// ADD and DEL on an interface made for it: the replaced bandwidth leaves a queue on it, and the replaced sbr does not put back what
/// it moved.
fn once(
    world: &World,
    directory: &Path,
    (kind, keys): (&'static str, &Value),
    round: usize,
) -> anyhow::Result<[Duration; 2]> {
    let container = format!("chained-{round}");
    let first = Plugin::new(world, &world.ours, "ptp", &ptp());
    let mut conf = keys.clone();
    conf["prevResult"] = result(&first, &container).context("the interface to chain on")?;
    for (key, value) in [("cniVersion", json!("1.0.0")), ("name", json!("chainnet")), ("type", json!(kind))] {
        conf[key] = value;
    }
    let chained = Plugin::new(world, directory, kind, &conf);
    let times = [chained.call("ADD", &container)?, chained.call("DEL", &container)?];
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
