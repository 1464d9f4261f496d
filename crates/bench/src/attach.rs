//! Whole attachments by executables, against the replaced plugins.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::plugin::{Plugin, alternate, timed};
use crate::report::Row;
use crate::stats::Pairs;
use crate::world::World;

const ROUNDS: usize = 60;
/// IPAM alone is quick, so that more rounds fit.
const IPAM_ROUNDS: usize = 300;
/// The peer starts a dozen processes in each.
const MASQUERADE_ROUNDS: usize = 30;
const HELD: u32 = 1000;
const PEER: &str = "containernetworking-plugins";

/// Each side keeps its own addresses: the other's changes would make both search their stores anew.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Peers,
}

impl Side {
    fn data(self) -> &'static str {
        match self {
            Self::Ours => "/run/held/ours",
            Self::Peers => "/run/held/peers",
        }
    }

    fn bridge(self) -> &'static str {
        match self {
            Self::Ours => "br-ours",
            Self::Peers => "br-peers",
        }
    }

    fn subnet(self) -> &'static str {
        match self {
            Self::Ours => "10.20.0.0/16",
            Self::Peers => "10.30.0.0/16",
        }
    }
}

fn ipam(side: Side) -> Value {
    let data = side.data();
    json!({"type": "host-local", "dataDir": data, "ranges": [[{"subnet": side.subnet()}]], "routes": [{"dst": "0.0.0.0/0"}]})
}

fn macvlan_conf(side: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "macnet", "type": "macvlan", "master": "eth0", "ipam": ipam(side)})
}

fn bridge_conf(side: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "brnet", "type": "bridge", "bridge": side.bridge(), "isGateway": true,
        "ipam": ipam(side)})
}

/// Our macvlan with host-local.
pub(crate) fn our_macvlan(world: &World) -> Plugin<'_> {
    Plugin::new(world, &world.ours, "macvlan", &macvlan_conf(Side::Ours))
}

/// The replaced macvlan with host-local, if it is here.
pub(crate) fn their_macvlan(world: &World) -> Option<Plugin<'_>> {
    let directory = world.programs.peers.as_ref()?;
    Some(Plugin::new(world, directory, "macvlan", &macvlan_conf(Side::Peers)))
}

/// ADD and DEL of macvlan, and how much of ADD is not the spawning of a process.
pub(crate) fn macvlan(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows = against_peer(world, "macvlan", macvlan_conf)?;
    rows.extend(over_a_spawn(world)?);
    Ok(rows)
}

/// ADD and DEL of bridge.
pub(crate) fn bridge(world: &World) -> anyhow::Result<Vec<Row>> {
    against_peer(world, "bridge", bridge_conf)
}

/// ADD and DEL of plugins that need neither a bridge nor rules.
pub(crate) fn plain(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, conf) in
        [("ptp", ptp_conf as fn(Side) -> Value), ("host-device", device), ("loopback", loopback)]
    {
        let [add, del] = compare(world, kind, conf, ROUNDS)?;
        let name = |verb: &str| format!("{kind} {verb}, executed");
        rows.extend([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)));
    }
    Ok(rows)
}

fn ptp_conf(side: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "plainptp", "type": "ptp", "ipam": ipam(side)})
}

/// The far end of a wire: each gives it back before the other takes it.
fn device(_: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "device", "type": "host-device", "device": "sw1"})
}

fn loopback(_: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"})
}

/// ADD and DEL of bridge and ptp with masquerading.
pub(crate) fn masquerade(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, conf) in [("bridge", masqueraded_bridge as fn(Side) -> Value), ("ptp", masqueraded_ptp)] {
        let [add, del] = compare(world, kind, conf, MASQUERADE_ROUNDS)?;
        let name = |verb: &str| format!("{kind} (ipMasq) + host-local {verb}, executed");
        rows.extend([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)));
    }
    Ok(rows)
}

fn masqueraded_bridge(side: Side) -> Value {
    let mut conf = bridge_conf(side);
    (conf["name"], conf["ipMasq"]) = (json!("masqnet"), json!(true));
    conf
}

fn masqueraded_ptp(side: Side) -> Value {
    json!({"cniVersion": "1.0.0", "name": "ptpnet", "type": "ptp", "ipMasq": true, "ipam": ipam(side)})
}

fn against_peer(world: &World, kind: &'static str, conf: fn(Side) -> Value) -> anyhow::Result<Vec<Row>> {
    let [add, del] = compare(world, kind, conf, ROUNDS)?;
    let name = |verb: &str| format!("{kind} + host-local {verb}, executed");
    Ok([("ADD", add), ("DEL", del)].iter().filter_map(|(v, p)| Row::times(&name(v), PEER, p)).collect())
}

fn compare(
    world: &World,
    kind: &'static str,
    conf: fn(Side) -> Value,
    rounds: usize,
) -> anyhow::Result<[Pairs; 2]> {
    let ours = Plugin::new(world, &world.ours, kind, &conf(Side::Ours));
    let peers = world.programs.peers.as_ref();
    let theirs = peers.map(|directory| Plugin::new(world, directory, kind, &conf(Side::Peers)));
    let mut their_round = theirs.as_ref().map(|peer| |round| peer.attach_and_detach(round));
    let peer = their_round.as_mut().map(|f| f as _);
    alternate(rounds, &mut |round| ours.attach_and_detach(round), peer)
}

/// The difference to an empty process, measured in pairs with it.
fn over_a_spawn(world: &World) -> anyhow::Result<Option<Row>> {
    let ours = our_macvlan(world);
    let mut spawn = |_| {
        let mut empty = Command::new(&world.programs.empty);
        empty.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok([timed(&mut empty, ours.stdin())?.0])
    };
    let mut add = |round| ours.attach_and_detach(round).map(|[add, _]| [add]);
    let [pairs] = alternate(ROUNDS, &mut add, Some(&mut spawn))?;
    let name = "macvlan + host-local ADD, executed, beyond an empty process";
    Ok(pairs.difference().map(|ms| Row::plain(name, "ms", ms, None)))
}

/// ADD and DEL of host-local alone, with many addresses held by others.
pub(crate) fn held(world: &World) -> anyhow::Result<Vec<Row>> {
    for side in [Side::Ours, Side::Peers] {
        hold(&Path::new(side.data()).join("full"), side)?;
    }
    let conf = |side| json!({"cniVersion": "1.0.0", "name": "full", "type": "macvlan", "ipam": ipam(side)});
    let pairs = compare(world, "host-local", conf, IPAM_ROUNDS)?;
    let mut both = Pairs::default();
    let sum = |part: fn(&Pairs) -> &Vec<_>| {
        let [add, del] = &pairs;
        part(add).iter().zip(part(del)).map(|(a, d): (&std::time::Duration, _)| *a + *d).collect()
    };
    both.ours = sum(|p| &p.ours);
    both.peers = sum(|p| &p.peers);
    let name = format!("host-local with {HELD} addresses held, ADD and DEL, executed");
    Ok(Row::times(&name, PEER, &both).into_iter().collect())
}

/// Fills a store with the addresses of other containers, in the format that both share.
fn hold(store: &Path, side: Side) -> anyhow::Result<()> {
    fs::create_dir_all(store)?;
    let first: std::net::Ipv4Addr = side.subnet().trim_end_matches("/16").parse()?;
    let mut last = first;
    for number in 0..HELD {
        last = std::net::Ipv4Addr::from(u32::from(first) + 2 + number);
        fs::write(store.join(last.to_string()), format!("held-{number}\r\nnet1"))?;
    }
    Ok(fs::write(store.join("last_reserved_ip.0"), last.to_string())?)
}
