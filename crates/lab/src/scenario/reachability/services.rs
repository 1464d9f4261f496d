//! A Service for each pod and each host: those of pods select them, those of hosts have endpoints written by hand.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::super::pools::LAN;
use super::super::probe;
use super::super::world::{NAMESPACE, PATIENCE, World};
use super::super::{Finding, eventually};
use super::{HOME, NODES};
use crate::registry::OUTSIDE;

/// The port of all of them. Behind it is the probes' one.
pub const PORT: u16 = 80;

/// The addresses of a Service, IPv4 first.
pub fn addresses(world: &World, name: &str) -> Result<[IpAddr; 2], String> {
    let service = world.get(&format!("/api/v1/namespaces/{NAMESPACE}/services/{name}"))?;
    let ips = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
    let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect();
    match ips.as_slice() {
        [v4, v6] if v4.is_ipv4() && v6.is_ipv6() => Ok([*v4, *v6]),
        other => Err(format!("Service {name} has the addresses {other:?}")),
    }
}

/// Makes the Services of these pods, and those of the hosts with their endpoints.
pub fn make(world: &World, pods: &[&str]) -> Finding {
    let of_pods = pods.iter().map(|pod| service(pod, json!({"reached": pod})));
    let mut all: Vec<_> = of_pods.collect();
    for (name, ips) in hosts(world)? {
        all.push(service(name, json!(null)));
        all.extend(ips.map(|ip| slice(name, ip)));
    }
    let text: Vec<String> = all.iter().map(ToString::to_string).collect();
    world.apply(&text.join("\n---\n"))
}

fn hosts(world: &World) -> Result<[(&'static str, [IpAddr; 2]); 3], String> {
    Ok([
        ("node", world.node_addresses(HOME)?),
        (LAN, world.host_addresses(LAN)?),
        (OUTSIDE, world.host_addresses(OUTSIDE)?),
    ])
}

fn service(name: &str, selector: serde_json::Value) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ipFamilyPolicy": "RequireDualStack", "selector": selector,
                 "ports": [{"port": PORT, "targetPort": probe::PORT}]},
    })
}

fn slice(service: &str, ip: IpAddr) -> serde_json::Value {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-{}", family.to_lowercase()),
                     "labels": {"kubernetes.io/service-name": service}},
        "addressType": family, "endpoints": [{"addresses": [ip]}],
        "ports": [{"name": "", "port": probe::PORT, "protocol": "TCP"}],
    })
}

/// Waits until both nodes lead to these pods and to the hosts, and to nobody else.
pub fn wait(world: &World, pods: &[&str]) -> Finding {
    eventually(PATIENCE.max(Duration::from_secs(60)), || {
        let mut wanted: BTreeSet<IpAddr> = hosts(world)?.into_iter().flat_map(|(_, ips)| ips).collect();
        for pod in pods {
            wanted.extend(world.sandbox(pod)?.ips);
        }
        let wanted: BTreeSet<SocketAddr> = wanted.into_iter().map(|ip| (ip, probe::PORT).into()).collect();
        for node in NODES {
            let served: BTreeSet<SocketAddr> =
                world.served(node)?.into_iter().filter(|at| at.port() == probe::PORT).collect();
            if served != wanted {
                return Err(format!("Services on {node} lead to {served:?}, not {wanted:?}"));
            }
        }
        Ok(format!("Services lead to {} addresses", wanted.len()))
    })
}

/// Ways into the cluster for those who are no part of it: the LAN host's by the pods' own node, that of the hosts behind the router by the other one.
pub fn open_to_outsiders(world: &World) -> Finding {
    let services = world.layout().shape().services;
    let [home, away] = [world.node_addresses(NODES[0])?, world.node_addresses(NODES[1])?];
    for (host, via) in [(LAN, home), (crate::registry::ROUTER, away)] {
        world.add_route(host, services.v4.into(), via[0])?;
        world.add_route(host, services.v6.into(), via[1])?;
    }
    Ok(format!("{} and {} are routed to nodes", services.v4, services.v6))
}
