//! scenarios/macvlan-standalone: a macvlan *is* eth0, and `veth` makes the cluster reachable.

use std::net::IpAddr;

use polynic_net::{Family, IpNet};

use super::pools::{self, DEFAULT_POOLS, LAN, addresses, each, gateways};
use super::reach::{answered_by, both_ways, connection_leaves_by, leaves_by};
use super::world::Place::{Host, Pod};
use super::world::World;
use super::{Chapter, Fact, Finding, Story, packet, same};
use crate::registry::OUTSIDE;

/// The story.
pub const STORY: Story = Story {
    name: "macvlan-standalone",
    given: DEFAULT_POOLS,
    manifests: include_str!("../../../../scenarios/macvlan-standalone/manifests.yaml"),
    nodes: 2,
    shape: pools::shape,
    chapters: &[
        Chapter { title: "The manifests, unchanged", act: apply, facts: STARTED },
        Chapter { title: "Deleting the Deployment", act: delete, facts: DELETED },
    ],
};

const LABEL: &str = "app=macvlan-standalone-deploy";
const REPLICAS: usize = 3;
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

const STARTED: &[Fact] = &[
    Fact { name: "each pod has lo, eth0 and veth0, and no interface of the default network", check: links },
    Fact { name: "eth0 is a macvlan with an address of each default pool", check: eth0 },
    Fact { name: "the pod's status address is the macvlan's", check: status_address },
    Fact { name: "the main table's defaults are eth0's alone", check: defaults },
    Fact { name: "Service and overlay networks go by the node's address on veth0", check: hijacked },
    Fact { name: "the node's address is on the link veth0", check: node_on_link },
    Fact { name: "veth0's other end is on the node, with a route to the pod's addresses", check: far_end },
    Fact { name: "the gateway is reached by eth0", check: gateway },
    Fact { name: "the host behind the router is reached by eth0", check: outside },
    Fact { name: "a Service's cluster address is reached by veth0", check: service },
    Fact { name: "pods of the overlay are reached by veth0", check: overlay },
    Fact { name: "who asks from the LAN or from outside is answered by eth0", check: answers },
    Fact { name: "the node and its pods reach each other by the pair", check: node },
];

const DELETED: &[Fact] = &[
    Fact { name: "the pools are empty again", check: pools::empty },
    Fact { name: "no link and no route of a pod is left on a node", check: nothing_on_nodes },
];

fn apply(world: &World) -> Finding {
    world.apply(DEFAULT_POOLS)?;
    world.apply(pools::WEB)?;
    let applied = world.apply(STORY.manifests)?;
    world.wait_pods(LABEL, REPLICAS)?;
    world.wait_pods(pools::WEB_LABEL, pools::WEB_REPLICAS)?;
    Ok(applied)
}

fn delete(world: &World) -> Finding {
    world.remove("/apis/apps/v1/namespaces/default/deployments/macvlan-standalone-deploy")?;
    world.wait_gone(LABEL)
}

fn every(world: &World, check: impl Fn(&World, &str) -> Finding) -> Finding {
    each(world, LABEL, REPLICAS, check)
}

fn links(world: &World) -> Finding {
    every(world, |world, pod| {
        let mut names = world.look(Pod(pod))?.link_names();
        names.sort();
        same(&names, &["eth0", "lo", "veth0"].map(str::to_owned).to_vec())
    })
}

fn eth0(world: &World) -> Finding {
    every(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        same(&view.link("eth0")?.kind.as_str(), &"macvlan")?;
        pools::are_of_default_pools(&view, "eth0")
    })
}

fn status_address(world: &World) -> Finding {
    every(world, |world, pod| {
        let object = world.pod(pod)?;
        let status = object.status.and_then(|status| status.pod_ip).unwrap_or_default();
        same(&status, &addresses(world, pod, "eth0")?[0].to_string())
    })
}

fn defaults(world: &World) -> Finding {
    every(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        same(&view.defaults(Family::V4), &vec!["default via 172.18.0.1 dev eth0".to_owned()])?;
        let v6 = view.defaults(Family::V6);
        match v6.as_slice() {
            [only] if only.starts_with("default via fc00:f853:ccd:e793::1 dev eth0") => Ok(only.clone()),
            other => Err(format!("IPv6 defaults: {other:?}")),
        }
    })
}

fn hijacked(world: &World) -> Finding {
    every(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let own = world.node_addresses(&world.sandbox(pod)?.node)?;
        for text in ["10.233.0.0/18", "10.244.0.0/16", "fd00:10:96::/112", "fd00:10:244::/56"] {
            let net: IpNet = text.parse().map_err(|why| format!("{text}: {why}"))?;
            let hop = own[usize::from(net.addr().is_ipv6())];
            let found = view.routes().any(|route| {
                route.dst == net
                    && route.gw == Some(hop)
                    && route.link.as_ref().is_some_and(|link| link.as_str() == "veth0")
            });
            if !found {
                return Err(format!("no route to {net} via {hop} on veth0"));
            }
        }
        Ok(format!("via {} and {}", own[0], own[1]))
    })
}

fn node_on_link(world: &World) -> Finding {
    every(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let own = world.node_addresses(&world.sandbox(pod)?.node)?;
        for ip in own {
            let found = view.routes().any(|route| {
                route.dst == IpNet::from(ip)
                    && route.gw.is_none()
                    && route.link.as_ref().is_some_and(|link| link.as_str() == "veth0")
            });
            if !found {
                return Err(format!("{ip} is not on the link veth0"));
            }
        }
        Ok(format!("{} and {}", own[0], own[1]))
    })
}

fn far_end(world: &World) -> Finding {
    every(world, |world, pod| {
        let (own, node) = (world.look(Pod(pod))?, world.look(Host(&world.sandbox(pod)?.node))?);
        let peer =
            own.link("veth0")?.peer.and_then(|index| node.name_of(index)).ok_or("veth0 ends nowhere")?;
        for ip in addresses(world, pod, "eth0")? {
            let on_peer = |route: &polynic_net::Route| {
                route.dst == IpNet::from(ip) && route.gw.is_none() && route.link.as_ref() == Some(peer)
            };
            if !node.routes().any(on_peer) {
                return Err(format!("the node has no route to {ip} on {peer}"));
            }
        }
        Ok(format!("{peer} of the node"))
    })
}

fn gateway(world: &World) -> Finding {
    let gateways = gateways(world)?;
    every(world, |world, pod| leave_all(world, pod, gateways, "eth0"))
}

fn outside(world: &World) -> Finding {
    let outside = world.outside()?;
    every(world, |world, pod| leave_all(world, pod, outside, "eth0"))
}

fn leave_all(world: &World, pod: &str, targets: [IpAddr; 2], nic: &str) -> Finding {
    for target in targets {
        leaves_by(world, pod, None, target, nic)?;
    }
    Ok(format!("{} and {}", targets[0], targets[1]))
}

fn service(world: &World) -> Finding {
    let clusters = pools::web_addresses(world)?;
    every(world, |world, pod| {
        for address in clusters {
            connection_leaves_by(world, pod, address, 80, "veth0")?;
            let page = packet::http(&world.network(Pod(pod))?, address, 80)?;
            if !page.contains("web-") {
                return Err(format!("{address} answered {page:?}"));
            }
        }
        Ok(format!("{} and {}", clusters[0], clusters[1]))
    })
}

fn overlay(world: &World) -> Finding {
    let webs = world.pods_with(pools::WEB_LABEL)?;
    every(world, |world, pod| {
        for web in &webs {
            leave_all(world, pod, addresses(world, web, "eth0")?, "veth0")?;
        }
        Ok("on the same node and on the other, both families".to_owned())
    })
}

fn answers(world: &World) -> Finding {
    every(world, |world, pod| {
        for address in addresses(world, pod, "eth0")? {
            for from in [Host(LAN), Host(OUTSIDE)] {
                answered_by(world, from, pod, address, "eth0")?;
            }
        }
        Ok("both families".to_owned())
    })
}

fn node(world: &World) -> Finding {
    every(world, |world, pod| {
        let node = world.sandbox(pod)?.node;
        let own = world.node_addresses(&node)?;
        for (address, own) in addresses(world, pod, "eth0")?.into_iter().zip(own) {
            both_ways(world, Host(&node), own, pod, address)?;
            answered_by(world, Host(&node), pod, address, "veth0")?;
            leaves_by(world, pod, None, own, "veth0")?;
        }
        Ok("both families, both directions, by the pair".to_owned())
    })
}

fn nothing_on_nodes(world: &World) -> Finding {
    super::eventually(super::world::PATIENCE, || {
        for node in ["node1", "node2"] {
            let view = world.look(Host(node))?;
            let pool: IpNet = "172.18.40.0/24".parse().map_err(|why| format!("{why}"))?;
            let stray = FAMILIES
                .iter()
                .flat_map(|family| [500, 254].map(|table| view.routes_in(table, *family)))
                .flatten()
                .find(|route| {
                    route
                        .split('/')
                        .next()
                        .and_then(|ip| ip.parse::<IpAddr>().ok())
                        .is_some_and(|ip| pool.contains(&ip))
                });
            if let Some(route) = stray {
                return Err(format!("{node} still has {route}"));
            }
        }
        Ok("the nodes are as before".to_owned())
    })
}
