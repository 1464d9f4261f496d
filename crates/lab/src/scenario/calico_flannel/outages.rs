//! A NIC that flaps, a cluster that changes while nobody looks, and a node that comes back with another subnet.

use std::net::IpAddr;
use std::sync::Mutex;

use polynic_net::{Address, Attr, Change, Family, IpNet, Place as Side};
use serde_json::json;

use super::super::packet;
use super::super::reach::both_ways;
use super::super::same;
use super::super::world::{Place, World, link_name};
use super::churn::{daemon_of, keep, kept_in};
use super::nodes::knows;
use super::pods::address;
use super::{CONVERGENCE, Finding, NGINX, NGINX2, eventually, measured, stem, subnet};

const NODE5: &str = "node5";
/// A pod on the node that comes while node2's daemon is away.
pub const LATER: &str = "later";
/// node3 on eth1, before and after it moves.
const NODE3: [&str; 2] = ["192.168.10.13/24", "192.168.10.113/24"];
/// A pod on node3 after it has got another subnet.
pub const MOVED: &str = "moved";
/// That subnet, which no node of the lab has by itself.
const SUBNETS: [&str; 2] = ["10.233.120.0/24", "fd00:10:233:120::/64"];

/// node3's subnet before.
static OLD: Mutex<Option<String>> = Mutex::new(None);

pub fn flap(world: &World) -> Finding {
    let eth1 = link_name("eth1")?;
    let up = |from, to| Change::attr(Side::Pod, &eth1, Attr::Up(from), Attr::Up(to));
    world.change("node2", up(true, false))?;
    let (here, to) = (world.network(Place::Pod(NGINX2))?, address(world, NGINX, "net1")?);
    packet::silence(&here, to)?;
    world.change("node2", up(false, true))?;
    Ok("nginx was not reached meanwhile".to_owned())
}

pub fn reaches_again(world: &World) -> Finding {
    let (here, to) = (world.network(Place::Pod(NGINX2))?, address(world, NGINX, "net1")?);
    measured(|| packet::glimpse(&here, to).map(|_| to.to_string()))
}

/// The daemon is stopped as a whole, sees nothing of what happens, and is killed then: the next one finds a kernel of long ago.
pub fn change_all_meanwhile(world: &World) -> Finding {
    let daemon = daemon_of(world)?;
    let signal = |which: &str| world.run(Place::Host("node2"), &["kill", which, &daemon]);
    signal("-STOP")?;
    let changed = change_all(world);
    signal("-KILL")?;
    changed
}

fn change_all(world: &World) -> Finding {
    world.remove_node("node4")?;
    world.add_node()?;
    world.create_pod(LATER, Some("flannel"), Some(NODE5))?;
    world.wait_running(&[LATER])?;
    let [old, new] = NODE3.map(|net| net.parse::<IpNet>().map_err(|why| why.to_string()));
    let eth1 = link_name("eth1")?;
    let held = |net| Change::add_address(Side::Pod, Address::new(&eth1, net));
    world.change("node3", held(old?).inverse().ok_or("an address has an inverse")?)?;
    world.change("node3", held(new?))?;
    Ok(format!("node4 is gone, {NODE5} is there, node3 has {}", NODE3[1]))
}

pub fn caught_up(world: &World) -> Finding {
    measured(|| knows(world, "node2", &["node3", NODE5]))
}

pub fn all_reached(world: &World) -> Finding {
    let own = address(world, NGINX2, "net1")?;
    for pod in [NGINX, LATER] {
        let to = address(world, pod, "net1")?;
        eventually(CONVERGENCE, || both_ways(world, Place::Pod(NGINX2), own, pod, to))?;
    }
    Ok("nginx and the new one".to_owned())
}

/// As after `kubectl drain`, `kubectl delete node` and joining again: the API server lets nobody change a podCIDR.
pub fn rejoin(world: &World) -> Finding {
    keep(&OLD, subnet(world, "node3")?);
    world.delete(&[NGINX])?;
    let mut node = world.get("/api/v1/nodes/node3")?;
    node["metadata"] = json!({"name": "node3", "labels": node["metadata"]["labels"]});
    node["spec"] = json!({"podCIDR": SUBNETS[0], "podCIDRs": SUBNETS});
    (node["apiVersion"], node["kind"]) = ("v1".into(), "Node".into());
    world.remove("/api/v1/nodes/node3")?;
    world.apply(&node.to_string())?;
    measured(|| match world.subnet_file("node3")?.contains(stem(SUBNETS[0])) {
        true => Ok("subnet.env says it".to_owned()),
        false => Err("subnet.env of node3 has the old subnet".to_owned()),
    })
}

pub fn all_know(world: &World) -> Finding {
    let nodes = ["node2", "node3", NODE5];
    measured(|| {
        for node in nodes {
            let others: Vec<&str> = nodes.into_iter().filter(|other| *other != node).collect();
            knows(world, node, &others)?;
        }
        Ok(format!("{} is gone everywhere", kept_in(&OLD)?))
    })
}

pub fn new_pod_reached(world: &World) -> Finding {
    world.create_pod(MOVED, Some("flannel"), Some("node3"))?;
    world.wait_running(&[MOVED])?;
    let (own, to) = (address(world, NGINX2, "net1")?, address(world, MOVED, "net1")?);
    let inside: IpNet = SUBNETS[0].parse().map_err(|why| format!("{why}"))?;
    same(&inside.contains(&to), &true)?;
    eventually(CONVERGENCE, || both_ways(world, Place::Pod(NGINX2), own, MOVED, to))
}

/// The bridge may keep the old gateway's address; the tunnel's address is the new subnet's alone.
pub fn addresses_follow(world: &World) -> Finding {
    let view = world.look(Place::Host("node3"))?;
    let base: IpAddr = format!("{}.0", stem(SUBNETS[0])).parse().map_err(|why| format!("{why}"))?;
    let held = view.addresses("flannel.1", Family::V4);
    same(&held.iter().map(|a| a.net).collect::<Vec<_>>(), &vec![base.into()])?;
    let gateway = format!("{}.1/24", stem(SUBNETS[0]));
    let bridge = view.all_addresses("cni0");
    match bridge.contains(&gateway) {
        true => Ok(format!("flannel.1 {base}, cni0 {gateway}")),
        false => Err(format!("cni0 has {bridge:?}")),
    }
}
