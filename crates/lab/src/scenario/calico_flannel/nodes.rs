//! What flannel makes on nodes.

use std::net::IpAddr;

use polynic_net::Family;

use super::super::same;
use super::super::world::{PATIENCE, Place, View, World};
use super::{CONVERGENCE, Finding, NETWORK, NODES3, annotation, eventually, stem, subnet};

pub fn wait_for_subnets(world: &World) -> Finding {
    for node in NODES3 {
        eventually(PATIENCE, || world.subnet_file(node))?;
    }
    // Each has to hear of the others.
    for node in NODES3 {
        eventually(CONVERGENCE, || knows(world, node, &others(node)))?;
    }
    Ok("each node has a subnet".to_owned())
}

pub fn others(node: &str) -> Vec<&'static str> {
    NODES3.into_iter().filter(|other| *other != node).collect()
}

pub fn subnet_files(world: &World) -> Finding {
    for node in NODES3 {
        let subnet = subnet(world, node)?;
        let expected = format!(
            "FLANNEL_NETWORK={NETWORK}\nFLANNEL_SUBNET={}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
            stem(&subnet)
        );
        same(&world.subnet_file(node)?, &expected)?;
    }
    Ok("to the byte, on all three".to_owned())
}

pub fn tunnels(world: &World) -> Finding {
    for node in NODES3 {
        let view = world.look(Place::Host(node))?;
        let link = view.link("flannel.1")?;
        let vxlan = link.vxlan.as_ref().ok_or("flannel.1 is no vxlan")?;
        let local = Some(world.addresses_on(node, 1)?[0]);
        let parent = Some(view.link("eth1")?.index);
        same(&(vxlan.vni, vxlan.port, vxlan.learning, link.mtu, link.up), &(1, 8472, false, 1450, true))?;
        same(&(vxlan.local, vxlan.parent), &(local, parent))?;
        let base: IpAddr =
            format!("{}.0", stem(&subnet(world, node)?)).parse().map_err(|why| format!("{why}"))?;
        let addresses = view.addresses("flannel.1", Family::V4);
        same(&addresses.iter().map(|a| a.net).collect::<Vec<_>>(), &vec![base.into()])?;
    }
    Ok("on all three".to_owned())
}

pub fn peers(world: &World) -> Finding {
    for node in NODES3 {
        knows(world, node, &others(node))?;
    }
    Ok("two peers each, permanent".to_owned())
}

/// Whether a node has the way to exactly these others.
pub fn knows(world: &World, node: &str, others: &[&str]) -> Finding {
    let view = world.look(Place::Host(node))?;
    let (mut routes, mut neighbours, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for other in others {
        let subnet = subnet(world, other)?;
        let base = format!("{}.0", stem(&subnet));
        let there = world.look(Place::Host(other))?;
        let mac = there.mac("flannel.1")?;
        routes.push(format!("{subnet} via {base} dev flannel.1"));
        neighbours.push(format!("{base} {mac}"));
        entries.push(format!("{mac} {}", there.address("eth1", Family::V4)?));
    }
    let by_tunnel = view.routes().filter(|r| r.link.as_ref().is_some_and(|l| l.as_str() == "flannel.1"));
    let found = by_tunnel.filter(|r| r.gw.is_some() && r.onlink).map(ToString::to_string).collect();
    same(&sorted(found), &sorted(routes))?;
    same(&sorted(neighbours_of(&view)), &sorted(neighbours))?;
    let found = view.forwarding().iter().map(|e| format!("{} {}", e.mac, e.dst)).collect();
    same(&sorted(found), &sorted(entries))
}

fn neighbours_of(view: &View) -> Vec<String> {
    let by_tunnel = view.neighbours().iter().filter(|n| n.link.as_str() == "flannel.1" && n.ip.is_ipv4());
    by_tunnel.map(|n| format!("{} {}", n.ip, n.mac)).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

pub fn annotations(world: &World) -> Finding {
    for name in NODES3 {
        let node = world.get(&format!("/api/v1/nodes/{name}"))?;
        let mac = world.look(Place::Host(name))?.mac("flannel.1")?;
        same(&annotation(&node, "backend-data"), &format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#).as_str())?;
        same(&annotation(&node, "backend-type"), &"vxlan")?;
        same(&annotation(&node, "kube-subnet-manager"), &"true")?;
        same(&annotation(&node, "public-ip"), &world.addresses_on(name, 1)?[0].to_string().as_str())?;
        eventually(CONVERGENCE, || is_available(world, name))?;
    }
    Ok("backend, data, public address, condition".to_owned())
}

fn is_available(world: &World, name: &str) -> Finding {
    let node = world.get(&format!("/api/v1/nodes/{name}"))?;
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ours = conditions.iter().find(|c| c["type"] == "NetworkUnavailable");
    let ours = ours.ok_or_else(|| format!("{name} has no condition NetworkUnavailable"))?;
    same(&(ours["status"].as_str(), ours["reason"].as_str()), &(Some("False"), Some("FlannelIsUp")))
}
