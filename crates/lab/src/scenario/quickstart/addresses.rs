//! Addresses of the quickstart: on links, in pod objects, in host-local's store.

use std::collections::BTreeSet;
use std::net::IpAddr;

use polynic_net::Family;

use super::super::world::Place::Pod;
use super::super::{Finding, same, world::World};
use super::{NODE, ONE, TWO};

/// The network's name, which is the name of host-local's directory.
pub const NETWORK: &str = "macvlan-conf";

/// The range of the manifests.
fn range() -> Vec<String> {
    (200..=216).map(|n| format!("192.168.1.{n}")).collect()
}

pub fn in_range(world: &World) -> Finding {
    let view = world.look(Pod(ONE))?;
    match view.addresses("net1", Family::V4).as_slice() {
        [only] if only.net.prefix_len() == 24 && range().contains(&only.net.addr().to_string()) => {
            Ok(only.net.to_string())
        }
        _ => Err(format!("net1 has {}", view.all_addresses("net1").join(", "))),
    }
}

pub fn two_differ(world: &World) -> Finding {
    let view = world.look(Pod(TWO))?;
    let names = view.link_names();
    if names != ["lo", "eth0", "net1", "net2"] {
        return Err(format!("its links are {}", names.join(", ")));
    }
    let [a, b] = [view.address("net1", Family::V4)?, view.address("net2", Family::V4)?];
    let [mac_a, mac_b] = [view.mac("net1")?, view.mac("net2")?];
    let words = format!("net1 {a} {mac_a}, net2 {b} {mac_b}");
    if a != b && mac_a != mac_b { Ok(words) } else { Err(words) }
}

pub fn pod_ips(world: &World) -> Finding {
    let view = world.look(Pod(ONE))?;
    let expected: Vec<IpAddr> = vec![view.address("eth0", Family::V4)?, view.address("eth0", Family::V6)?];
    let status = world.pod(ONE)?.status.unwrap_or_default();
    let listed = status.pod_ips.unwrap_or_default().into_iter();
    let found: Vec<IpAddr> = listed.filter_map(|ip| ip.ip.parse().ok()).collect();
    if status.pod_ip != expected.first().map(ToString::to_string) {
        return Err(format!("podIP is {:?}, eth0 has {expected:?}", status.pod_ip));
    }
    same(&found, &expected)
}

pub fn three_held(world: &World) -> Finding {
    let mut expected = vec![
        world.look(Pod(ONE))?.address("net1", Family::V4)?.to_string(),
        world.look(Pod(TWO))?.address("net1", Family::V4)?.to_string(),
        world.look(Pod(TWO))?.address("net2", Family::V4)?.to_string(),
    ];
    expected.sort();
    same(&world.stored_addresses(NODE, NETWORK), &expected)
}

/// Seventeen different addresses on links, and the store says the same.
pub fn all_held(world: &World) -> Finding {
    let mut on_links = Vec::new();
    for sandbox in world.sandboxes().iter().filter(|sandbox| sandbox.is_up()) {
        let view = world.look(Pod(&sandbox.name))?;
        for link in view.link_names().iter().filter(|name| name.starts_with("net")) {
            on_links.push(view.address(link, Family::V4)?.to_string());
        }
        // The failure stories have networks of their own.
        on_links.retain(|address| address.starts_with("192.168.1."));
    }
    let distinct: BTreeSet<String> = on_links.iter().cloned().collect();
    let wanted: BTreeSet<String> = range().into_iter().collect();
    if distinct != wanted || on_links.len() != wanted.len() {
        return Err(format!("links have {on_links:?}"));
    }
    same(&world.stored_addresses(NODE, NETWORK).len(), &wanted.len())
}

pub fn none_held(world: &World) -> Finding {
    for network in [NETWORK, "k8s-pod-network"] {
        same(&world.stored_addresses(NODE, network), &Vec::new())?;
    }
    Ok("none held by macvlan-conf or the default network".to_owned())
}

pub fn no_files(world: &World) -> Finding {
    for below in ["var/lib/cni/results", "var/lib/cni/multus", "var/lib/cni/multus/results"] {
        let mut files = world.node_files(NODE, below);
        files.retain(|name| name != "results");
        same(&files, &Vec::new()).map_err(|why| format!("{below}: {why}"))?;
    }
    same(&world.sandboxes().len(), &0)?;
    Ok("caches, scratch files and records are gone".to_owned())
}
