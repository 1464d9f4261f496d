//! Real packets of the quickstart.

use std::net::IpAddr;

use polynic_net::Family;

use super::super::packet;
use super::super::world::Place::{Host, Pod};
use super::super::{Finding, same, world::World};
use super::links::CHOSEN;
use super::{FAR, ONE, TWO};
use crate::registry::OUTSIDE;

fn address(world: &World, pod: &str, link: &str, family: Family) -> Result<IpAddr, String> {
    world.look(Pod(pod))?.address(link, family)
}

/// Pings from a link's own address.
fn ping(world: &World, pod: &str, link: &str, to: IpAddr) -> Finding {
    let family = Family::of(to);
    let from = address(world, pod, link, family)?;
    let time = packet::ping(&world.network(Pod(pod))?, Some(from), to)?;
    Ok(format!("{from} -> {to} in {:.2} ms", time.as_secs_f64() * 1000.0))
}

fn router(world: &World) -> Result<IpAddr, String> {
    let segment = world.layout().segments().first().ok_or("no network")?;
    Ok(segment.router()[0])
}

pub fn gateway(world: &World) -> Finding {
    ping(world, ONE, "net1", router(world)?)
}

pub fn outside_by_net1(world: &World) -> Finding {
    ping(world, ONE, "net1", world.outside()?[0])
}

/// Without a source of its own choice the pod's packets go by net1: the other end tells whom it saw.
pub fn outside_sees_net1(world: &World) -> Finding {
    let (pod, outside) = (world.network(Pod(ONE))?, world.network(Host(OUTSIDE))?);
    let seen = packet::tcp(&pod, &outside, world.outside()?[0])?;
    same(&seen, &address(world, ONE, "net1", Family::V4)?)
}

pub fn between_net1(world: &World) -> Finding {
    let there = ping(world, ONE, "net1", address(world, TWO, "net1", Family::V4)?)?;
    let back = ping(world, TWO, "net1", address(world, ONE, "net1", Family::V4)?)?;
    Ok(format!("{there}; {back}"))
}

pub fn between_eth0(world: &World) -> Finding {
    both_families(world, TWO)
}

pub fn across_nodes(world: &World) -> Finding {
    both_families(world, FAR)
}

fn both_families(world: &World, other: &str) -> Finding {
    let v4 = eth0_to(world, other, Family::V4)?;
    let v6 = eth0_to(world, other, Family::V6)?;
    Ok(format!("{v4}; {v6}"))
}

/// The pod with two defaults answers by net1 whatever came in by eth0 from another network; so the question goes from a pod whose answers
/// have one way only, unless both are on one node.
fn eth0_to(world: &World, other: &str, family: Family) -> Finding {
    ping(world, other, "eth0", address(world, ONE, "eth0", family)?)
}

pub fn tcp(world: &World) -> Finding {
    let (one, two) = (world.network(Pod(ONE))?, world.network(Pod(TWO))?);
    let by_net1 = packet::tcp(&one, &two, address(world, TWO, "net1", Family::V4)?)?;
    same(&by_net1, &address(world, ONE, "net1", Family::V4)?)?;
    let by_eth0 = packet::tcp(&world.network(Pod(FAR))?, &two, address(world, TWO, "eth0", Family::V6)?)?;
    same(&by_eth0, &address(world, FAR, "eth0", Family::V6)?)?;
    Ok(format!("seen as {by_net1} and {by_eth0}"))
}

pub fn chosen_reaches_outside(world: &World) -> Finding {
    let (pod, outside) = (world.network(Pod(CHOSEN))?, world.network(Host(OUTSIDE))?);
    let seen = packet::tcp(&pod, &outside, world.outside()?[0])?;
    same(&seen, &address(world, CHOSEN, "net1", Family::V4)?)
}

pub fn chosen_reaches_gateway(world: &World) -> Finding {
    ping(world, CHOSEN, "net1", router(world)?)
}

/// Explain says of each ping what it does.
pub fn explained(world: &World) -> Finding {
    let two = |link, family| address(world, TWO, link, family);
    let pairs = [
        (Pod(ONE), router(world)?),
        (Pod(ONE), world.outside()?[0]),
        (Pod(ONE), two("net1", Family::V4)?),
        (Pod(TWO), address(world, ONE, "net1", Family::V4)?),
        (Pod(ONE), two("eth0", Family::V4)?),
        (Pod(ONE), two("eth0", Family::V6)?),
        (Pod(FAR), address(world, ONE, "eth0", Family::V4)?),
        (Host(OUTSIDE), address(world, ONE, "net1", Family::V4)?),
    ];
    super::super::explained::agrees(world, &pairs)
}

/// The command on the pod's node finds the pod by its name.
pub fn explain_command(world: &World) -> Finding {
    let node = world.sandbox(ONE)?.node;
    let to = router(world)?.to_string();
    let program = world.program()?;
    let said = world.run(Host(&node), &[&program, "explain", ONE, "--to", &to])?;
    let first = said.lines().next().unwrap_or_default().to_owned();
    if first.starts_with("pod default/samplepod from") && first.contains("works") && said.contains("dev net1")
    {
        return Ok(first);
    }
    Err(said)
}
