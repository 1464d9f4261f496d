//! Many pods with two networks of flannel each, that come and go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::super::packet;
use super::super::world::{PATIENCE, Place, World};
use super::pods::{DOUBLE, address};
use super::{Finding, NGINX2, eventually};

/// How many come all in all, by `POLYNIC_FLANNEL_PODS` otherwise.
const PODS: usize = 12;
/// How many are there at a time.
const AT_A_TIME: usize = 12;
const NODES: [&str; 2] = ["node2", "node3"];

static TWICE: Mutex<Option<Finding>> = Mutex::new(None);
static ANSWERED: Mutex<Option<Finding>> = Mutex::new(None);

fn note(place: &Mutex<Option<Finding>>, finding: Finding) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(finding);
}

fn noted(place: &Mutex<Option<Finding>>) -> Finding {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or("nothing was noted")?
}

/// Waves of pods; each wave is looked at and asked before it goes.
pub fn come_and_go(world: &World) -> Finding {
    let count = std::env::var("POLYNIC_FLANNEL_PODS").ok().and_then(|n| n.parse().ok()).unwrap_or(PODS);
    let (mut given, mut asked) = (0, Ok(0));
    let mut twice = Ok(String::new());
    for wave in (0..count).collect::<Vec<_>>().chunks(AT_A_TIME) {
        let names: Vec<String> = wave.iter().map(|number| format!("crowd-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (number, name) in names.iter().enumerate() {
            world.create_pod(name, Some("flannel,flannel-b"), Some(NODES[number % NODES.len()]))?;
        }
        world.wait_running(&names)?;
        let all = addresses(world, &names)?;
        given += all.len();
        twice = twice.and_then(|_| differ(world, &all));
        asked = asked.and_then(|before| Ok(before + answers(world, &all)?));
        world.delete(&names)?;
    }
    note(&TWICE, twice.map(|_| format!("{given} addresses")));
    note(&ANSWERED, asked.map(|asked| format!("{asked} addresses")));
    Ok(format!("{count} pods, {AT_A_TIME} at a time"))
}

fn addresses(world: &World, names: &[&str]) -> Result<Vec<(String, IpAddr)>, String> {
    let mut all = Vec::new();
    for name in names {
        for link in ["net1", "net2"] {
            all.push((format!("{link} of {name}"), address(world, name, link)?));
        }
    }
    Ok(all)
}

/// Among the wave, and from those that stay.
fn differ(world: &World, all: &[(String, IpAddr)]) -> Finding {
    let staying = [(NGINX2, "net1"), (DOUBLE, "net1"), (DOUBLE, "net2")];
    let staying: Result<Vec<IpAddr>, String> =
        staying.iter().map(|(pod, nic)| address(world, pod, nic)).collect();
    let mut seen: BTreeSet<IpAddr> = staying?.into_iter().collect();
    match all.iter().find(|(_, ip)| !seen.insert(*ip)) {
        Some((whose, ip)) => Err(format!("{ip} of {whose} is somebody else's as well")),
        None => Ok(String::new()),
    }
}

/// Each address answers a node that is not its own.
fn answers(world: &World, all: &[(String, IpAddr)]) -> Result<usize, String> {
    let there = world.network(Place::Host("node1"))?;
    for (whose, ip) in all {
        packet::ping(&there, None, *ip).map_err(|why| format!("{whose}: {why}"))?;
    }
    Ok(all.len())
}

pub fn none_twice() -> Finding {
    noted(&TWICE)
}

pub fn all_answered() -> Finding {
    noted(&ANSWERED)
}

/// The stores hold those that stay, and the bridges have their ports alone.
pub fn nothing_left(world: &World) -> Finding {
    eventually(PATIENCE, || {
        for node in NODES {
            let view = world.look(Place::Host(node))?;
            let bridge = view.link("cni0")?.index;
            let is_port = |name: &String| view.link(name).is_ok_and(|link| link.master == Some(bridge));
            let ports = view.link_names().into_iter().filter(is_port).count();
            let held: BTreeSet<String> =
                ["flannel", "flannel-b"].iter().flat_map(|net| world.stored_addresses(node, net)).collect();
            if ports != held.len() {
                return Err(format!("{node} has {ports} ports and holds {held:?}"));
            }
        }
        Ok("on either node".to_owned())
    })
}
