//! What pods get.

use std::collections::BTreeSet;
use std::net::IpAddr;

use polynic_net::Family;

use super::super::same;
use super::super::world::{Place, World};
use super::{Finding, NGINX, NGINX2, STORY, WEB, outages, stem, subnet};

/// The pods of the manifests with their nodes.
pub const WITH_NET1: [(&str, &str); 2] = [(NGINX, "node3"), (NGINX2, "node2")];
/// A pod with two NICs of flannel, on nginx2's node.
pub const DOUBLE: &str = "double";

/// The address of a pod's link.
pub fn address(world: &World, pod: &str, link: &str) -> Result<IpAddr, String> {
    world.look(Place::Pod(pod))?.address(link, Family::V4)
}

pub fn addresses(world: &World) -> Finding {
    let mut seen = Vec::new();
    for (pod, node) in WITH_NET1 {
        let view = world.look(Place::Pod(pod))?;
        let eth0 = view.address("eth0", Family::V4)?;
        let net1 = view.addresses("net1", Family::V4).first().map(|a| a.net.to_string()).unwrap_or_default();
        if !eth0.to_string().starts_with("172.16.") {
            return Err(format!("eth0 of {pod} has {eth0}"));
        }
        let stem = stem(&subnet(world, node)?).to_owned();
        if !(net1.starts_with(&format!("{stem}.")) && net1.ends_with("/24")) {
            return Err(format!("net1 of {pod} has {net1}, the node's subnet is {stem}.0/24"));
        }
        seen.push(format!("{pod} {eth0} {net1}"));
    }
    Ok(seen.join(", "))
}

pub fn mtu(world: &World) -> Finding {
    for (pod, node) in WITH_NET1 {
        same(&world.look(Place::Pod(pod))?.link("net1")?.mtu, &1450)?;
        same(&world.look(Place::Host(node))?.link("cni0")?.mtu, &1450)?;
    }
    Ok("as has the bridge".to_owned())
}

pub fn routes(world: &World) -> Finding {
    for (pod, node) in WITH_NET1 {
        let view = world.look(Place::Pod(pod))?;
        same(&view.defaults(Family::V4), &vec!["default via 169.254.1.1 dev eth0".to_owned()])?;
        let subnet = subnet(world, node)?;
        let by_net1: Vec<String> = view
            .routes()
            .filter(|r| r.family() == Family::V4 && r.link.as_ref().is_some_and(|l| l.as_str() == "net1"))
            .map(ToString::to_string)
            .collect();
        let expected = BTreeSet::from([
            format!("{subnet} dev net1"),
            format!("10.233.0.0/16 via {}.1 dev net1", stem(&subnet)),
        ]);
        same(&by_net1.into_iter().collect(), &expected)?;
    }
    Ok("both pods".to_owned())
}

pub fn status(world: &World) -> Finding {
    for (pod, _) in WITH_NET1 {
        let (_, rows) = world.network_status(pod)?;
        let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
        same(&names, &vec!["k8s-pod-network", "default/flannel"])?;
        let ip = rows[1]["ips"][0].as_str().unwrap_or_default();
        same(&ip, &address(world, pod, "net1")?.to_string().as_str())?;
    }
    Ok("k8s-pod-network and default/flannel".to_owned())
}

pub fn twice(world: &World) -> Finding {
    let config =
        serde_json::json!({"cniVersion": "0.3.0", "type": "flannel", "delegate": {"hairpinMode": true}});
    world.define_network("flannel-b", &config)?;
    world.create_pod(DOUBLE, Some("flannel,flannel-b"), Some("node2"))?;
    world.wait_running(&[DOUBLE])
}

pub fn all_differ(world: &World) -> Finding {
    let mut all = Vec::new();
    for (pod, link) in [(DOUBLE, "net1"), (DOUBLE, "net2"), (NGINX2, "net1")] {
        all.push(address(world, pod, link)?);
    }
    let different: BTreeSet<IpAddr> = all.iter().copied().collect();
    same(&different.len(), &all.len())?;
    Ok(format!("{all:?}"))
}

pub fn delete(world: &World) -> Finding {
    world.delete(&[NGINX2, DOUBLE, outages::LATER, outages::MOVED])
}

pub fn nothing_left(world: &World) -> Finding {
    for node in ["node2", "node3", "node5"] {
        for network in ["flannel", "flannel-b"] {
            same(&world.stored_addresses(node, network), &Vec::<String>::new())?;
        }
        let notes: Vec<String> = world
            .node_files(node, "var/lib/cni/flannel")
            .into_iter()
            .filter(|f| !f.starts_with('.'))
            .collect();
        same(&notes, &Vec::<String>::new())?;
        let view = world.look(Place::Host(node))?;
        let bridge = view.link("cni0")?.index;
        let ports: Vec<String> = view.link_names();
        let ports = ports.iter().filter(|name| view.link(name).is_ok_and(|l| l.master == Some(bridge)));
        same(&ports.count(), &0)?;
    }
    let _ = (STORY.name, WEB);
    Ok("on any node".to_owned())
}
