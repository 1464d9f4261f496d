//! Real packets, and by which interface they go.

use std::net::IpAddr;

use super::super::pools::LAN;
use super::super::reach::{answered_by, both_ways, leaves_by};
use super::super::world::Place::{Host, Pod};
use super::super::{Finding, packet, world::World};
use super::{addresses, each, pods};
use crate::registry::OUTSIDE;

fn gateways(world: &World) -> Result<[IpAddr; 2], String> {
    Ok(world.layout().segments().first().ok_or("no network")?.router())
}

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
    let pods = pods(world)?;
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

pub fn service(world: &World) -> Finding {
    let service = world.get("/api/v1/namespaces/default/services/overlay")?;
    let clusters: Vec<IpAddr> = service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.as_str()?.parse().ok())
        .collect();
    if clusters.len() != 2 {
        return Err(format!("the Service has the addresses {clusters:?}"));
    }
    each(world, |world, pod| {
        for address in &clusters {
            let answer = packet::http(&world.network(Pod(pod))?, *address, 80)?;
            if !answer.contains("macvlan-overlay-deploy") {
                return Err(format!("{address} answered {answer:?}"));
            }
        }
        Ok(format!("{clusters:?} answer"))
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
    Ok("from other pods, both families".to_owned())
}

pub fn node(world: &World) -> Finding {
    each(world, |world, pod| {
        let node = world.sandbox(pod)?.node;
        let own = world.host_addresses(&node)?;
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
