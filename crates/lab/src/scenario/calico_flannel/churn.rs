//! Daemons that die, tunnels that vanish, nodes that come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::packet;
use super::super::reach::both_ways;
use super::super::same;
use super::super::world::{PATIENCE, Place, World};
use super::nodes::knows;
use super::pods::address;
use super::{CONVERGENCE, Finding, NGINX, NGINX2, eventually, measured, subnet};

/// A pod on the node that comes late.
pub const LATE: &str = "late";
const NODE4: &str = "node4";

/// What the pings said that ran while the daemon was away.
static LOST: Mutex<Option<Finding>> = Mutex::new(None);
/// The tunnel's index and the subnet before.
static BEFORE: Mutex<Option<(u32, String)>> = Mutex::new(None);

pub fn keep<T>(place: &Mutex<Option<T>>, value: T) {
    *place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
}

pub fn kept_in<T: Clone>(place: &Mutex<Option<T>>) -> Result<T, String> {
    let kept = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    kept.ok_or_else(|| "nothing was noted".to_owned())
}

pub fn restart(world: &World) -> Finding {
    let index = world.look(Place::Host("node2"))?.link("flannel.1")?.index;
    keep(&BEFORE, (index, world.subnet_file("node2")?));
    let (here, to) = (world.network(Place::Pod(NGINX2))?, address(world, NGINX, "net1")?);
    packet::ping(&here, None, to)?;
    let done = Arc::new(AtomicBool::new(false));
    let pings = {
        let done = done.clone();
        // Some more pass after the new daemon's first look.
        let go_on = move |count| count < 200 || !done.load(Ordering::Relaxed);
        std::thread::spawn(move || packet::stream(&here, to, Duration::from_millis(20), go_on))
    };
    let old = daemon_of(world)?;
    world.run(Place::Host("node2"), &["kill", "-KILL", &old])?;
    let began = Instant::now();
    let new = eventually(PATIENCE, || match daemon_of(world)? {
        new if new != old => Ok(new),
        _ => Err("no new daemon".to_owned()),
    });
    let away = began.elapsed();
    done.store(true, Ordering::Relaxed);
    let lost = pings.join().map_err(|_| "the pings failed".to_owned())?;
    keep(&LOST, lost);
    new?;
    Ok(format!("a new one after {away:?}"))
}

/// The process id of node2's daemon.
pub fn daemon_of(world: &World) -> Finding {
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^/opt/cni/bin/polynic agent flannel[d] .*--iface' \
                  && [ \"$(readlink $p/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ] && echo ${p#/proc/}; done; true";
    let found = world.run(Place::Host("node2"), &["sh", "-c", script])?;
    found.lines().next().map(str::to_owned).ok_or_else(|| "no flanneld runs on node2".to_owned())
}

pub fn nothing_lost(_: &World) -> Finding {
    kept_in(&LOST)?
}

pub fn kept(world: &World) -> Finding {
    let (index, file) = kept_in(&BEFORE)?;
    same(&world.look(Place::Host("node2"))?.link("flannel.1")?.index, &index)?;
    same(&world.subnet_file("node2")?, &file)?;
    knows(world, "node2", &["node1", "node3"])
}

pub fn delete_tunnel(world: &World) -> Finding {
    world.remove_link("node2", "flannel.1")
}

pub fn rebuilt(world: &World) -> Finding {
    measured(|| knows(world, "node2", &["node1", "node3"]))
}

pub fn join(world: &World) -> Finding {
    let joined = world.add_node()?;
    eventually(PATIENCE, || world.subnet_file(NODE4))?;
    world.create_pod(LATE, Some("flannel"), Some(NODE4))?;
    world.wait_running(&[LATE])?;
    Ok(joined)
}

pub fn known(world: &World) -> Finding {
    let all = ["node1", "node2", "node3", NODE4];
    for node in all {
        let others: Vec<&str> = all.into_iter().filter(|other| *other != node).collect();
        eventually(CONVERGENCE, || knows(world, node, &others))?;
    }
    Ok(format!("{NODE4} has {}", subnet(world, NODE4)?))
}

pub fn reached(world: &World) -> Finding {
    let own = address(world, LATE, "net1")?;
    for pod in [NGINX, NGINX2] {
        both_ways(world, Place::Pod(LATE), own, pod, address(world, pod, "net1")?)?;
    }
    Ok(format!("{own} and the two others"))
}

pub fn remove(world: &World) -> Finding {
    world.remove_node("node1")
}

pub fn forgotten(world: &World) -> Finding {
    let left = ["node2", "node3", NODE4];
    for node in left {
        let others: Vec<&str> = left.into_iter().filter(|other| *other != node).collect();
        eventually(CONVERGENCE, || knows(world, node, &others))?;
    }
    Ok("on all three".to_owned())
}
