//! What the kernel of each pod shows.

use polynic_net::{Family, IpNet};

use super::super::pools::{self, addresses};
use super::super::world::Place::Pod;
use super::super::{Finding, same, world::World};
use super::each;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// The table of eth0.
const TABLE: u32 = 100;
/// The story's hijacked networks.
const HIJACKED: [&str; 4] = ["10.233.0.0/18", "fd00:10:96::/112", "10.244.0.0/16", "fd00:10:244::/56"];

pub fn eth0_is_single(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let lengths: Vec<u8> = FAMILIES
            .iter()
            .flat_map(|family| view.addresses("eth0", *family))
            .map(|address| address.net.prefix_len())
            .collect();
        same(&lengths, &vec![32, 128])
    })
}

pub fn net1_is_of_the_pools(world: &World) -> Finding {
    each(world, |world, pod| pools::are_of_default_pools(&world.look(Pod(pod))?, "net1"))
}

pub fn defaults(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        same(&view.defaults(Family::V4), &vec!["default via 172.18.0.1 dev net1".to_owned()])?;
        let v6 = view.defaults(Family::V6);
        match v6.as_slice() {
            [only] if only.starts_with("default via fc00:f853:ccd:e793::1 dev net1") => Ok(only.clone()),
            other => Err(format!("IPv6 defaults: {other:?}")),
        }
    })
}

pub fn eth0_in_main(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let node = world.sandbox(pod)?.node;
        let node_addresses = world.node_addresses(&node)?;
        let mut wanted: Vec<String> = vec!["169.254.1.1/32".into()];
        wanted.extend(node_addresses.map(|ip| IpNet::from(ip).to_string()));
        for destination in &wanted {
            let by_eth0 = view.routes().any(|route| {
                route.dst.to_string() == *destination
                    && route.link.as_ref().is_some_and(|link| link.as_str() == "eth0")
            });
            if !by_eth0 {
                return Err(format!("no route to {destination} by eth0 in the main table"));
            }
        }
        Ok(format!("{} by eth0", wanted.join(", ")))
    })
}

pub fn from_eth0(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        for (family, address) in FAMILIES.into_iter().zip(addresses(world, pod, "eth0")?) {
            let rules = view.rules_to(TABLE, family);
            if !rules.iter().any(|rule| rule.from == Some(IpNet::from(address))) {
                return Err(format!("no rule from {address} to table {TABLE}: {rules:?}"));
            }
        }
        Ok("a rule of each family".to_owned())
    })
}

pub fn to_hijacked(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        for text in HIJACKED {
            let net: IpNet = text.parse().map_err(|why| format!("{text}: {why}"))?;
            let rules = view.rules_to(TABLE, Family::of(net.addr()));
            if !rules.iter().any(|rule| rule.to == Some(net)) {
                return Err(format!("no rule to {net} for table {TABLE}: {rules:?}"));
            }
        }
        Ok(HIJACKED.join(", "))
    })
}

pub fn table_100(world: &World) -> Finding {
    each(world, |world, pod| {
        let view = world.look(Pod(pod))?;
        let has = |family, start: &str| {
            let routes = view.routes_in(TABLE, family);
            let found = routes.iter().any(|route| route.starts_with(start) && route.contains("dev eth0"));
            if found { Ok(()) } else { Err(format!("no {start} dev eth0 in table {TABLE}: {routes:?}")) }
        };
        has(Family::V4, "default via 169.254.1.1")?;
        has(Family::V6, "default via fe80:")?;
        has(Family::V4, "169.254.1.1/32 ")?;
        let node = world.node_addresses(&world.sandbox(pod)?.node)?;
        for (family, ip) in FAMILIES.into_iter().zip(node) {
            has(family, &format!("{} ", IpNet::from(ip)))?;
        }
        Ok("eth0's defaults of both families, and what is on its link".to_owned())
    })
}

pub fn status(world: &World) -> Finding {
    each(world, |world, pod| {
        let (_, rows) = world.network_status(pod)?;
        let interfaces: Vec<&str> = rows.iter().filter_map(|row| row["interface"].as_str()).collect();
        same(&interfaces, &vec!["eth0", "net1"])?;
        let own = addresses(world, pod, "net1")?.map(|ip| ip.to_string());
        same(&rows[1]["ips"], &serde_json::json!(own))
    })
}

/// What older releases of Spiderpool wrote; now the SpiderEndpoint says it.
pub fn no_record_of_old(world: &World) -> Finding {
    each(world, |world, pod| {
        let annotations = world.pod(pod)?.metadata.annotations.unwrap_or_default();
        match annotations.keys().find(|key| key.starts_with("ipam.spidernet.io/assigned-")) {
            None => Ok(annotations.into_keys().collect::<Vec<_>>().join(", ")),
            Some(key) => Err(format!("there is an annotation {key}")),
        }
    })
}

pub fn endpoints(world: &World) -> Finding {
    each(world, |world, pod| pools::endpoint_says(world, pod, "net1", addresses(world, pod, "net1")?))
}
