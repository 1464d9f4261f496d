//! Attachments inside this process, as the node agent makes them, against the kernel's own work for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polynic_cni::{Delegate, Invocation, Verb};
use polynic_kernel::RealDoor;
use polynic_plugins::{Host, Registry};
use serde_json::json;

use crate::plugin::alternate;
use crate::raw::{Raw, Sockets};
use crate::report::Row;
use crate::world::{WIRES, World};

const ROUNDS: usize = 60;
const PEER: &str = "the same netlink operations on open sockets";
/// A host-local store keeps asking for the next address; the raw side takes fixed ones.
const GATEWAYS: [[u8; 4]; 2] = [[10, 40, 0, 1], [10, 41, 0, 1]];

/// One network and two, ADD and DEL.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows =
        networks(world, 1, ["in-process macvlan + host-local ADD", "in-process macvlan + host-local DEL"])?;
    rows.extend(networks(world, 2, ["in-process ADD of two networks", "in-process DEL of two networks"])?);
    Ok(rows)
}

fn networks(world: &World, count: usize, names: [&str; 2]) -> anyhow::Result<Vec<Row>> {
    let registry = registry();
    let sockets = Arc::new(Sockets::open(&world.pod)?);
    let raws: Arc<[Raw]> = (0..count).map(|n| raw(&sockets, n)).collect::<anyhow::Result<_>>()?;
    let mut ours = |round| {
        let calls: Vec<Invocation> = (0..count).map(|n| invocation(world, n, round)).collect();
        Ok([call(&registry, Verb::Add, calls.iter())?, call(&registry, Verb::Del, calls.iter().rev())?])
    };
    let mut peer = |_| by_hand(world, &sockets, &raws);
    let pairs = alternate(ROUNDS, &mut ours, Some(&mut peer))?;
    Ok(names.iter().zip(&pairs).filter_map(|(name, pairs)| Row::times(name, PEER, pairs)).collect())
}

fn registry() -> Registry {
    Registry::new(Host {
        door: Box::<RealDoor>::default(),
        state: PathBuf::from("/run/polynic"),
        executable: None,
        addresses: Box::new(polynic_wire::Sockets),
        releases: polynic_wire::ReleaseJournal::new("/run/held/releases"),
        seed: Box::new(|| Instant::now().elapsed().as_nanos() as u64),
        warn: Box::new(|_| {}),
    })
}

fn call<'a>(
    registry: &Registry,
    verb: Verb,
    calls: impl Iterator<Item = &'a Invocation>,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    for invocation in calls {
        registry.call("macvlan", verb, invocation)?;
    }
    Ok(start.elapsed())
}

fn invocation(world: &World, network: usize, round: usize) -> Invocation {
    let ranges = json!([[{"subnet": format!("10.4{network}.0.0/16")}]]);
    let routes = json!([{"dst": format!("10.5{network}.0.0/16")}]);
    let ipam =
        json!({"type": "host-local", "dataDir": "/run/held/agent", "ranges": ranges, "routes": routes});
    let conf = json!({"cniVersion": "1.0.0", "name": format!("agent-{network}"), "type": "macvlan",
        "master": WIRES[network], "ipam": ipam});
    Invocation {
        container_id: format!("bench-{round}"),
        netns: world.netns.clone(),
        ifname: format!("net{network}"),
        // Built-in plugins are called in this process when nobody's file has their name.
        path: "/nonexistent".to_owned(),
        stdin: conf.to_string().into_bytes(),
        ..Invocation::default()
    }
}

fn raw(sockets: &Sockets, network: usize) -> anyhow::Result<Raw> {
    let gateway = GATEWAYS[network];
    let [a, b, c, d] = gateway;
    Ok(Raw {
        parent: sockets.node_index(WIRES[network])?,
        name: ["net0", "net1"][network],
        address: [a, b, c, d + 1],
        gateway,
        to: ([a, b + 10, 0, 0], 16),
    })
}

/// Timed inside the pod's namespace, so that getting there is not counted.
fn by_hand(world: &World, sockets: &Arc<Sockets>, raws: &Arc<[Raw]>) -> anyhow::Result<[Duration; 2]> {
    let (sockets, raws) = (Arc::clone(sockets), Arc::clone(raws));
    world.pod.run(move || {
        let attached = raws.iter().map(|raw| raw.attach(&sockets)).sum::<anyhow::Result<Duration>>();
        let detached = raws.iter().map(|raw| raw.detach(&sockets)).sum::<anyhow::Result<Duration>>();
        Ok([attached?, detached?])
    })?
}
