//! What the stories with Spiderpool have in common: the cluster's default pools, endpoints, and what the independent checker says.

use std::net::IpAddr;

use serde_json::Value;

use super::Finding;
use super::world::{NAMESPACE, World};
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

trait IntoNet {
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
