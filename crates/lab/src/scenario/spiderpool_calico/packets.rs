//! Real packets, and by which interface they go.

use std::net::{IpAddr, Ipv4Addr};

use super::super::pools::LAN;
use super::super::reach::{answered_by, both_ways, connection_leaves_by, leaves_by};
use super::super::world::Place::{Host, Pod};
use super::super::{Finding, world::World};
use super::objects::ASKED;
use super::routes::{SWAPPED, address};
use super::{DNS, FAR, LABEL, OVERLAY, each};

fn far(world: &World) -> Result<IpAddr, String> {
    Ok(world.host_addresses(FAR)?[0])
}

fn dns() -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(DNS))
}

/// Each pod and the next one; the two are on different nodes if the scheduler spread them.
fn pairs(world: &World) -> Result<Vec<(String, String)>, String> {
    let pods = world.pods_with(LABEL)?;
    let next = pods.iter().cycle().skip(1);
    Ok(pods.iter().zip(next).map(|(a, b)| (a.clone(), b.clone())).collect())
}

pub fn pods_by_eth0(world: &World) -> Finding {
    for (one, other) in pairs(world)? {
        leaves_by(world, &one, None, address(world, &other, "eth0")?, "eth0")?;
        leaves_by(world, &one, None, address(world, OVERLAY, "eth0")?, "eth0")?;
        answered_by(world, Pod(OVERLAY), &one, address(world, &one, "eth0")?, "eth0")?;
    }
    Ok("pods with net1 and without".to_owned())
}

pub fn service(world: &World) -> Finding {
    each(world, |world, pod| connection_leaves_by(world, pod, dns(), 53, "eth0"))
}

pub fn far_by_net1(world: &World) -> Finding {
    let far = far(world)?;
    each(world, |world, pod| leaves_by(world, pod, Some(address(world, pod, "net1")?), far, "net1"))
}

pub fn answered_by_net1(world: &World) -> Finding {
    each(world, |world, pod| {
        let net1 = address(world, pod, "net1")?;
        answered_by(world, Host(FAR), pod, net1, "net1")?;
        answered_by(world, Host(LAN), pod, net1, "net1")
    })
}

pub fn node(world: &World) -> Finding {
    each(world, |world, pod| {
        let node = world.sandbox(pod)?.node;
        let own = world.node_addresses(&node)?[0];
        for link in ["eth0", "net1"] {
            both_ways(world, Host(&node), own, pod, address(world, pod, link)?)?;
        }
        Ok("both directions".to_owned())
    })
}

pub fn between_net1(world: &World) -> Finding {
    for (one, other) in pairs(world)? {
        let (own, there) = (address(world, &one, "net1")?, address(world, &other, "net1")?);
        both_ways(world, Pod(&one), own, &other, there)?;
    }
    Ok("both directions".to_owned())
}

pub fn swapped_far(world: &World) -> Finding {
    leaves_by(world, SWAPPED, None, far(world)?, "net1")
}

pub fn swapped_service(world: &World) -> Finding {
    connection_leaves_by(world, SWAPPED, dns(), 53, "eth0")
}

pub fn swapped_eth0(world: &World) -> Finding {
    answered_by(world, Pod(OVERLAY), SWAPPED, address(world, SWAPPED, "eth0")?, "eth0")
}

pub fn asked_by_eth0(world: &World) -> Finding {
    leaves_by(world, ASKED, None, address(world, OVERLAY, "eth0")?, "eth0")?;
    answered_by(world, Pod(OVERLAY), ASKED, address(world, ASKED, "eth0")?, "eth0")
}
