//! Real packets, and by which interface they go.

use super::super::pools::{self, LAN, addresses, gateways};
use super::super::reach::{answered_by, both_ways, connection_leaves_by, leaves_by};
use super::super::world::Place::{Host, Pod};
use super::super::{Finding, packet, world::World};
use super::{LABEL, each};
use crate::registry::OUTSIDE;

pub fn gateway(world: &World) -> Finding {
    each(world, |world, pod| {
        for gateway in gateways(world)? {
            leaves_by(world, pod, None, gateway, "net1")?;
        }
        Ok("both families".to_owned())
    })
}

pub fn outside(world: &World) -> Finding {
    each(world, |world, pod| {
        for address in world.outside()? {
            leaves_by(world, pod, None, address, "net1")?;
        }
        Ok("both families".to_owned())
    })
}

/// Each pod and the next one.
fn pairs(world: &World) -> Result<Vec<(String, String)>, String> {
    let pods = world.pods_with(LABEL)?;
    let next = pods.iter().cycle().skip(1);
    Ok(pods.iter().zip(next).map(|(a, b)| (a.clone(), b.clone())).collect())
}

pub fn other_pod(world: &World) -> Finding {
    for (one, other) in pairs(world)? {
        for address in addresses(world, &other, "eth0")? {
            leaves_by(world, &one, None, address, "eth0")?;
        }
    }
    Ok("both families, within a node and across".to_owned())
}

/// A cluster address answers no ping: connections do instead.
pub fn service(world: &World) -> Finding {
    let clusters = pools::web_addresses(world)?;
    each(world, |world, pod| {
        for address in clusters {
            connection_leaves_by(world, pod, address, 80, "eth0")?;
            let page = packet::http(&world.network(Pod(pod))?, address, 80)?;
            if !page.contains("web-") {
                return Err(format!("{address} answered {page:?}"));
            }
        }
        Ok(format!("{} and {}", clusters[0], clusters[1]))
    })
}

pub fn answers_net1(world: &World) -> Finding {
    each(world, |world, pod| {
        for address in addresses(world, pod, "net1")? {
            for from in [Host(LAN), Host(OUTSIDE)] {
                answered_by(world, from, pod, address, "net1")?;
            }
        }
        Ok("from the LAN and from behind the router, both families".to_owned())
    })
}

pub fn answers_eth0(world: &World) -> Finding {
    let pairs = pairs(world)?;
    for (one, other) in &pairs {
        for address in addresses(world, other, "eth0")? {
            answered_by(world, Pod(one), other, address, "eth0")?;
        }
    }
    each(world, |world, pod| {
        for address in addresses(world, pod, "eth0")? {
            for from in [Host(LAN), Host(OUTSIDE)] {
                answered_by(world, from, pod, address, "eth0")?;
            }
        }
        Ok("from other pods, the LAN and behind the router, both families".to_owned())
    })
}

pub fn node(world: &World) -> Finding {
    each(world, |world, pod| {
        let node = world.sandbox(pod)?.node;
        let own = world.node_addresses(&node)?;
        for link in ["eth0", "net1"] {
            for (address, own) in addresses(world, pod, link)?.into_iter().zip(own) {
                both_ways(world, Host(&node), own, pod, address)?;
            }
        }
        Ok("both families, both directions".to_owned())
    })
}

pub fn between_net1(world: &World) -> Finding {
    for (one, other) in pairs(world)? {
        let own = addresses(world, &one, "net1")?;
        for (own, address) in own.into_iter().zip(addresses(world, &other, "net1")?) {
            both_ways(world, Pod(&one), own, &other, address)?;
        }
    }
    Ok("both families, both directions".to_owned())
}
