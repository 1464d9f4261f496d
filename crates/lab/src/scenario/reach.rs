//! Who reaches whom, and by which interface of a pod the packets go: echo requests and TCP connections, captured on all links of the pod.

use std::net::IpAddr;

use super::Finding;
use super::probe::{self, By, PORT, Probe, Seen};
use super::world::{Place, World};
use super::{explained, packet};

/// `from` reaches an address of a pod by ping and TCP, and what the pod answers leaves by `nic` and no other link.
pub fn answered_by(world: &World, from: Place<'_>, pod: &str, to: IpAddr, nic: &str) -> Finding {
    let spaces = [world.network(from)?, world.network(Place::Pod(pod))?];
    let probes = [By::Ping, By::Tcp(PORT)].map(|by| Probe { from: 0, source: None, to, by });
    for (probe, seen) in probes.iter().zip(probe::run(&spaces, 1, &probes)?) {
        let by = seen.links.answered.iter().map(String::as_str).eq([nic]);
        good(&seen, by)
            .map_err(|why| format!("{from:?} -> {to} ({pod}) by {:?}: {why}, not {nic}", probe.by))?;
    }
    explained::says_answered_by(world, from, to, nic)
}

/// A pod reaches an address by ping, and its packets leave by `nic` and no other link.
pub fn leaves_by(world: &World, pod: &str, source: Option<IpAddr>, to: IpAddr, nic: &str) -> Finding {
    asks_by(world, pod, Probe { from: 0, source, to, by: By::Ping }, nic)?;
    explained::says_leaves_by(world, pod, source, (to, None), nic)
}

/// A TCP connection of a pod to an address leaves by `nic` and no other link.
pub fn connection_leaves_by(world: &World, pod: &str, to: IpAddr, port: u16, nic: &str) -> Finding {
    asks_by(world, pod, Probe { from: 0, source: None, to, by: By::Tcp(port) }, nic)?;
    explained::says_leaves_by(world, pod, None, (to, Some(port)), nic)
}

fn asks_by(world: &World, pod: &str, probe: Probe, nic: &str) -> Result<(), String> {
    let spaces = [world.network(Place::Pod(pod))?];
    for seen in probe::run(&spaces, 0, std::slice::from_ref(&probe))? {
        let by = seen.links.asked.iter().map(String::as_str).eq([nic]);
        good(&seen, by)
            .map_err(|why| format!("{pod} -> {} by {:?}: {why}, not {nic}", probe.to, probe.by))?;
    }
    Ok(())
}

fn good(seen: &Seen, by: bool) -> Result<(), String> {
    let links = &seen.links;
    let ways = format!("requests by {:?}, answers by {:?}", links.asked, links.answered);
    match &seen.answer {
        Ok(()) if by => Ok(()),
        Ok(()) => Err(ways),
        Err(why) => Err(format!("{why}; {ways}")),
    }
}

/// Both directions between a place and an address of a pod work, by whatever way.
pub fn both_ways(world: &World, place: Place<'_>, own: IpAddr, pod: &str, to: IpAddr) -> Finding {
    let (there, here) = (world.network(place)?, world.network(Place::Pod(pod))?);
    let failed = |why: String| format!("{place:?} {own} <-> {pod} {to}: {why}");
    packet::ping(&there, None, to).map_err(failed)?;
    packet::tcp(&there, &here, to).map_err(failed)?;
    packet::ping(&here, None, own).map_err(failed)?;
    packet::tcp(&here, &there, own).map_err(failed)?;
    explained::says_both_ways(world, place, own, pod, to)?;
    Ok(format!("{own} <-> {to}"))
}
