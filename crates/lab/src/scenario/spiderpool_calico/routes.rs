//! What the kernel of each pod shows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use polynic_net::{Family, IpNet, TABLE_MAIN};
use serde_json::json;

use super::super::world::Place::Pod;
use super::super::world::{View, World};
use super::super::{Finding, same};
use super::each;

/// The pod whose default is net1.
pub const SWAPPED: &str = "swapped";

pub fn address(world: &World, pod: &str, link: &str) -> Result<IpAddr, String> {
    world.look(Pod(pod))?.address(link, Family::V4)
}

pub fn addresses_differ(world: &World) -> Finding {
    let mut seen = BTreeSet::new();
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let (eth0, net1) = (view.addresses("eth0", Family::V4), view.addresses("net1", Family::V4));
        let fine = match (eth0.as_slice(), net1.as_slice()) {
            ([eth0], [net1]) => {
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.octets(),
                    IpAddr::V6(_) => [0; 4],
                };
                let (a, b) = (octets(eth0.net.addr()), octets(net1.net.addr()));
                a[..2] == [10, 233]
                    && eth0.net.prefix_len() == 32
                    && b[..3] == [10, 6, 212]
                    && (100..=200).contains(&b[3])
                    && net1.net.prefix_len() == 16
            }
            _ => false,
        };
        if fine {
            Ok(format!("{} and {}", eth0[0].net, net1[0].net))
        } else {
            Err(format!("{eth0:?}, {net1:?}"))
        }
    })?;
    each(world, |world, pod| Ok(address(world, pod, "net1")?.to_string()))?;
    for pod in world.pods_with(super::LABEL)? {
        if !seen.insert(address(world, &pod, "net1")?) {
            return Err("two pods have one address".to_owned());
        }
    }
    Ok(format!("{seen:?}"))
}

pub fn default_on_eth0(world: &World) -> Finding {
    each(world, |world, pod| {
        let defaults = world.look(Pod(pod))?.defaults(Family::V4);
        same(&defaults, &vec!["default via 169.254.1.1 dev eth0".to_owned()])
    })
}

/// The table that packets from an address look in.
fn table_of(view: &View, from: IpAddr) -> Result<u32, String> {
    let tables = (1..=300).filter(|table| *table != TABLE_MAIN && *table != 253);
    let mut found = tables.filter(|table| {
        view.rules_to(*table, Family::V4).iter().any(|rule| rule.from == Some(IpNet::from(from)))
    });
    found.next().ok_or_else(|| format!("no rule for packets from {from}"))
}

pub fn net1_table(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let table = table_of(&view, view.address("net1", Family::V4)?)?;
        let routes = view.routes_in(table, Family::V4);
        match routes.iter().find(|route| route.starts_with("default via 10.6.0.1 dev net1")) {
            Some(route) => Ok(route.clone()),
            None => Err(format!("table {table} has {routes:?}")),
        }
    })
}

pub fn hijacked(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let node = world.node_addresses(&world.sandbox(pod)?.node)?[0];
        let own = table_of(&view, view.address("net1", Family::V4)?)?;
        let wanted = ["10.233.64.0/18".to_owned(), "10.233.0.0/18".to_owned(), format!("{node}/32")];
        for table in [TABLE_MAIN, own] {
            let routes = view.routes_in(table, Family::V4);
            for net in &wanted {
                // In the main table eth0's default carries the cluster's networks where they have no route of their own.
                let by_eth0 =
                    routes.iter().any(|r| r.starts_with(&format!("{net} ")) && r.contains("dev eth0"));
                let by_default =
                    table == TABLE_MAIN && !routes.iter().any(|r| r.starts_with(&format!("{net} ")));
                if !by_eth0 && !by_default {
                    return Err(format!("{net} does not go by eth0 in table {table}: {routes:?}"));
                }
            }
        }
        Ok(wanted.join(", "))
    })
}

pub fn swap(world: &World) -> Finding {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": SWAPPED, "annotations": {
            "k8s.v1.cni.cncf.io/networks": "macvlan-ens192",
            "ipam.spidernet.io/default-route-nic": "net1",
        }},
        "spec": {"containers": [{"name": "c", "image": "alpine"}]},
    });
    world.apply(&pod.to_string())?;
    world.wait_running(&[SWAPPED])
}

pub fn swapped_default(world: &World) -> Finding {
    let defaults = world.look(Pod(SWAPPED))?.defaults(Family::V4);
    same(&defaults, &vec!["default via 10.6.0.1 dev net1".to_owned()])
}

pub fn swapped_table(world: &World) -> Finding {
    let view = world.look(Pod(SWAPPED))?;
    let table = table_of(&view, view.address("eth0", Family::V4)?)?;
    let routes = view.routes_in(table, Family::V4);
    match routes.iter().find(|route| route.starts_with("default via 169.254.1.1 dev eth0")) {
        Some(route) => Ok(route.clone()),
        None => Err(format!("table {table} has {routes:?}")),
    }
}
