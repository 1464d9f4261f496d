//! What the stories with Spiderpool have in common: the cluster's default pools, endpoints, and what the independent checker says.

use std::net::IpAddr;

use polynic_net::{Family, IpNet};
use serde_json::Value;

use super::world::{NAMESPACE, Place, View, World};
use super::{Finding, eventually};
use crate::shape::{Dual, Host, Shape, Underlay};

/// The guide's default pools of the underlay.
pub const DEFAULT_POOLS: &str = "
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: default-v4-ippool}
spec: {default: true, ipVersion: 4, subnet: 172.18.0.0/16, gateway: 172.18.0.1, ips: [172.18.40.10-172.18.40.200]}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: default-v6-ippool}
spec: {default: true, ipVersion: 6, subnet: 'fc00:f853:ccd:e793::/64', gateway: 'fc00:f853:ccd:e793::1',
       ips: ['fc00:f853:ccd:e793::1000-fc00:f853:ccd:e793::2000']}
";

/// A host among the nodes.
pub const LAN: &str = "lan";

/// The guides' cluster: nodes in 172.18.0.0/16, Services in 10.233.0.0/18.
pub fn shape() -> Shape {
    let v6 = |text: &str| text.parse().ok();
    let mut underlay = Underlay::of(([172, 18, 0, 0], 16).into_net());
    underlay.v6 = v6("fc00:f853:ccd:e793::/64");
    Shape {
        underlays: vec![underlay],
        services: Dual::parse("10.233.0.0/18,fd00:10:96::/112").unwrap_or_else(|_| Shape::default().services),
        hosts: [Shape::default().hosts, vec![Host::new(LAN, ([172, 18, 0, 77], 16).into_net())]].concat(),
        spiderpool: true,
        ..Shape::default()
    }
}

/// An address and a length as a network.
pub trait IntoNet {
    /// The network.
    fn into_net(self) -> ipnet::Ipv4Net;
}

impl IntoNet for ([u8; 4], u8) {
    fn into_net(self) -> ipnet::Ipv4Net {
        ipnet::Ipv4Net::new_assert(self.0.into(), self.1)
    }
}

/// The item of an interface in a pod's SpiderEndpoint.
pub fn endpoint(world: &World, pod: &str, nic: &str) -> Result<Value, String> {
    let path = format!("/apis/spiderpool.spidernet.io/v2beta1/namespaces/{NAMESPACE}/spiderendpoints/{pod}");
    let endpoint = world.get(&path)?;
    let items = endpoint["status"]["current"]["ips"].as_array().cloned().unwrap_or_default();
    let item = items.into_iter().find(|item| item["interface"] == nic);
    let item = item.ok_or_else(|| format!("the SpiderEndpoint of {pod} has no {nic}: {endpoint}"))?;
    Ok(serde_json::json!({"node": endpoint["status"]["current"]["node"], "item": item}))
}

/// A pod's SpiderEndpoint says pools, addresses and node of an interface.
pub fn endpoint_says(world: &World, pod: &str, nic: &str, addresses: [IpAddr; 2]) -> Finding {
    let found = endpoint(world, pod, nic)?;
    let (item, node) = (&found["item"], &found["node"]);
    for (address, key, pool, name) in [
        (addresses[0], "ipv4", "ipv4Pool", "default-v4-ippool"),
        (addresses[1], "ipv6", "ipv6Pool", "default-v6-ippool"),
    ] {
        let says = item[key].as_str().unwrap_or_default();
        if !says.starts_with(&format!("{address}/")) || item[pool] != name {
            return Err(format!("{key} is {says} of {}, not {address} of {name}", item[pool]));
        }
    }
    let sandbox = world.sandbox(pod)?;
    match *node == sandbox.node.as_str() {
        true => Ok(format!("{item} on {node}")),
        false => Err(format!("it names node {node}, not {}", sandbox.node)),
    }
}

/// How many addresses a pool has given.
pub fn allocated(world: &World, pool: &str) -> Result<u64, String> {
    let path = format!("/apis/spiderpool.spidernet.io/v2beta1/spiderippools/{pool}");
    Ok(world.get(&path)?["status"]["allocatedIPCount"].as_u64().unwrap_or_default())
}

/// Somebody on the overlay alone, and a Service to reach it by: the Deployments of the stories listen to nothing.
pub const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 8080}]}]}
";
/// The label of its pods.
pub const WEB_LABEL: &str = "app=web";
/// How many there are.
pub const WEB_REPLICAS: usize = 2;

/// The cluster addresses of [`WEB`], IPv4 first.
pub fn web_addresses(world: &World) -> Result<[IpAddr; 2], String> {
    let service = world.get("/api/v1/namespaces/default/services/web")?;
    let ips = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
    let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect();
    match ips.as_slice() {
        [v4, v6] if v4.is_ipv4() && v6.is_ipv6() => Ok([*v4, *v6]),
        other => Err(format!("the Service has the addresses {other:?}")),
    }
}

/// The router's addresses on the nodes' first network.
pub fn gateways(world: &World) -> Result<[IpAddr; 2], String> {
    Ok(world.layout().segments().first().ok_or("no network")?.router())
}

/// A link's addresses, IPv4 first.
pub fn addresses(world: &World, pod: &str, link: &str) -> Result<[IpAddr; 2], String> {
    let view = world.look(Place::Pod(pod))?;
    Ok([view.address(link, Family::V4)?, view.address(link, Family::V6)?])
}

/// Checks every pod with a label, of which there must be so many; the last finding stands for all.
pub fn each(world: &World, label: &str, count: usize, check: impl Fn(&World, &str) -> Finding) -> Finding {
    let pods = world.pods_with(label)?;
    if pods.len() != count {
        return Err(format!("{} pods with {label}, not {count}", pods.len()));
    }
    let mut last = String::new();
    for pod in pods {
        last = check(world, &pod).map_err(|why| format!("{pod}: {why}"))?;
    }
    Ok(last)
}

/// A link has one address of each default pool.
pub fn are_of_default_pools(view: &View, link: &str) -> Finding {
    let nets: Vec<IpNet> = [Family::V4, Family::V6]
        .iter()
        .flat_map(|family| view.addresses(link, *family))
        .map(|address| address.net)
        .collect();
    let fine = |net: &IpNet| match net {
        IpNet::V4(net) => net.addr().octets()[..3] == [172, 18, 40] && net.prefix_len() == 16,
        IpNet::V6(net) => net.to_string().starts_with("fc00:f853:ccd:e793::") && net.prefix_len() == 64,
    };
    match nets.len() == 2 && nets.iter().all(fine) {
        true => Ok(format!("{nets:?}")),
        false => Err(format!("{link} has {nets:?}")),
    }
}

/// The default pools have given nothing.
pub fn empty(world: &World) -> Finding {
    eventually(super::world::PATIENCE, || {
        for pool in ["default-v4-ippool", "default-v6-ippool"] {
            match allocated(world, pool)? {
                0 => {}
                n => return Err(format!("{pool} still holds {n}")),
            }
        }
        Ok("nothing is allocated".to_owned())
    })
}
