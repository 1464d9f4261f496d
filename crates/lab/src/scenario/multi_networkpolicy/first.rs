//! A pod's first moments: its policies are older than it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use super::super::world::{PATIENCE, Place::Pod, World};
use super::super::{Finding, eventually, packet};
use super::flood::{Flood, received};
use super::{FRIEND, GUEST, NEAR, ODD, STORY, STRANGER, WEB};

/// A port that web declares, and so listens at.
const PORT: u16 = 5005;
/// Addresses of flannel that web can get on its node: the first are given out in order, two pods have some already.
const OF_FLANNEL: std::ops::RangeInclusive<u8> = 2..=9;

/// What came to web and, as proof that something was sent, to a pod that no policy selects; and how much was sent.
static SEEN: Mutex<Option<[u64; 3]>> = Mutex::new(None);

/// Everybody but web starts, then two of them send to all that web may become, then web starts.
pub fn start(world: &World) -> Finding {
    let (others, web) = STORY.manifests.rsplit_once("\n---\n").ok_or("the manifests end with web")?;
    for node in ["node1", "node2"] {
        eventually(PATIENCE, || world.subnet_file(node))?;
    }
    world.apply(others)?;
    world.wait_running(&[FRIEND, STRANGER, GUEST, NEAR, ODD])?;
    let targets = targets(world)?;
    // One on web's node, and one on the other.
    let floods =
        [Flood::start(world, Pod(STRANGER), targets.clone())?, Flood::start(world, Pod(GUEST), targets)?];
    floods.iter().try_for_each(|flood| flood.wait_for(100).map(drop))?;
    world.apply(web)?;
    world.wait_running(&[WEB])?;
    floods.iter().try_for_each(|flood| flood.wait_for(1000).map(drop))?;
    let sent = floods.iter().map(Flood::sent).sum();
    drop(floods);
    let seen = [received(world, Pod(WEB))?, received(world, Pod(ODD))?, sent];
    *SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(seen);
    Ok("six pods run, web the last of them".to_owned())
}

/// The macvlan's addresses that the manifest asks for, its broadcast address, and the next ones of flannel.
fn targets(world: &World) -> Result<Vec<SocketAddr>, String> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|why| format!("{text}: {why}"));
    let mut targets = vec![address("10.60.0.11")?, address("fd60::11")?, address("10.60.0.255")?];
    let gateway = world.subnet_file("node2")?;
    let subnet = gateway.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET="));
    let stem = subnet.and_then(|subnet| subnet.rsplit_once('.')).ok_or("node2 has no subnet")?.0.to_owned();
    for last in OF_FLANNEL {
        targets.push(address(&format!("{stem}.{last}"))?);
    }
    Ok(targets.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect())
}

pub fn nothing_came(_: &World) -> Finding {
    let seen = *SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match seen.ok_or("nothing was noted")? {
        [0, elsewhere, sent] if elsewhere > 0 => {
            Ok(format!("{sent} were sent, none came to {WEB}, {elsewhere} to {ODD}, which no policy selects"))
        }
        [came, elsewhere, sent] => Err(format!(
            "{sent} were sent, {came} came to {WEB}, {elsewhere} to {ODD}, which no policy selects"
        )),
    }
}

/// Who is not allowed in is told web's hardware address: a policy is about what comes after.
pub fn neighbours(world: &World) -> Finding {
    let [_, to, _] = super::targets(world, WEB)?;
    let wanted = world.look(Pod(WEB))?.mac("net1")?;
    eventually(PATIENCE, || {
        packet::silence(&world.network(Pod(FRIEND))?, to)?;
        world.forget();
        let scene = world.scene()?;
        let site = scene.find(&World::site_name(Pod(FRIEND))).and_then(|at| scene.sites.get(at));
        let stack = &site.ok_or("friend is not in the scene")?.stack;
        let found = stack.neighbours.iter().find(|n| n.ip == to).and_then(|n| n.mac);
        super::super::same(&found.map(|mac| mac.to_string()), &Some(wanted.clone()))
    })
}
