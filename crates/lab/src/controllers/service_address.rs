//! Addresses and node ports of Services that were made without: the allocator that other API servers have built in.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::{Value, json};

use super::action::{Action, Kind, Target};
use super::meta;
use super::snapshot::Snapshot;
use crate::shape::Dual;

/// The lowest numbers of a range are left to people who choose addresses by hand.
const RESERVED: u32 = 256;
/// The range of node ports.
const NODE_PORTS: std::ops::RangeInclusive<i32> = 30000..=32767;

/// Gives each Service what it lacks.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let mut taken = Taken::of(world);
    let alive = world.services.iter().filter(|service| !meta::is_ending(*service));
    let with_spec = alive.filter_map(|service| Some((service, service.spec.as_ref()?)));
    with_spec.filter_map(|(service, spec)| one(service, spec, world.services_network, &mut taken)).collect()
}

/// What is in use.
struct Taken {
    ips: BTreeSet<IpAddr>,
    ports: BTreeSet<i32>,
}

impl Taken {
    fn of(world: &Snapshot) -> Taken {
        let specs = || world.services.iter().filter_map(|service| service.spec.as_ref());
        let ips = specs().flat_map(|spec| spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()));
        let ports = specs().flat_map(|spec| spec.ports.iter().flatten());
        Taken {
            ips: ips.filter_map(|ip| ip.parse().ok()).collect(),
            ports: ports.filter_map(|port| port.node_port).collect(),
        }
    }

    /// The lowest free address of a family.
    fn ip(&mut self, family: &str, networks: Dual) -> Option<IpAddr> {
        let (v4, v6) = (networks.v4, networks.v6);
        let size = u32::MAX.checked_shr(u32::from(v4.prefix_len())).unwrap_or(0);
        let first = if size > 4 * RESERVED { RESERVED } else { 16 };
        let at = |number: u32| match family {
            "IPv4" => IpAddr::V4(Ipv4Addr::from(u32::from(v4.network()) + number)),
            _ => IpAddr::V6(Ipv6Addr::from(u128::from(v6.network()) + u128::from(number))),
        };
        let free = (first..size).map(at).find(|ip| !self.ips.contains(ip))?;
        self.ips.insert(free);
        Some(free)
    }

    fn port(&mut self) -> Option<i32> {
        let free = NODE_PORTS.into_iter().find(|port| !self.ports.contains(port))?;
        self.ports.insert(free);
        Some(free)
    }
}

fn one(service: &Service, spec: &ServiceSpec, networks: Dual, taken: &mut Taken) -> Option<Action> {
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if kind == "ExternalName" {
        return None;
    }
    let mut patch = json!({});
    if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        patch = addresses(spec, networks, taken)?;
    }
    if ["NodePort", "LoadBalancer"].contains(&kind)
        && let Some(ports) = node_ports(spec, taken)
    {
        patch["ports"] = ports;
    }
    let empty = patch.as_object().is_none_or(serde_json::Map::is_empty);
    (!empty).then(|| Action::patch(Target::of(Kind::Service, service), json!({ "spec": patch })))
}

/// The families that a Service asks for, the first one first.
fn families(spec: &ServiceSpec) -> Vec<String> {
    let given = spec.ip_families.clone().unwrap_or_default();
    let by_address = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
    let first = match (given.first(), by_address) {
        (Some(first), _) => first.clone(),
        (None, Some(IpAddr::V6(_))) => "IPv6".to_owned(),
        (None, _) => "IPv4".to_owned(),
    };
    let both =
        given.len() > 1 || spec.ip_family_policy.as_deref().is_some_and(|policy| policy != "SingleStack");
    let other = if first == "IPv4" { "IPv6" } else { "IPv4" };
    if both { vec![first, other.to_owned()] } else { vec![first] }
}

fn addresses(spec: &ServiceSpec, networks: Dual, taken: &mut Taken) -> Option<Value> {
    let families = families(spec);
    let policy = spec.ip_family_policy.clone().unwrap_or_else(|| "SingleStack".to_owned());
    let mut patch = json!({"ipFamilies": families, "ipFamilyPolicy": policy});
    if spec.cluster_ip.as_deref() == Some("None") {
        patch["clusterIPs"] = json!(["None"]);
        return Some(patch);
    }
    let chosen = spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
    let mut all: Vec<String> = chosen.into_iter().collect();
    for family in families.iter().skip(all.len()) {
        all.push(taken.ip(family, networks)?.to_string());
    }
    patch["clusterIP"] = json!(all.first());
    patch["clusterIPs"] = json!(all);
    Some(patch)
}

/// All ports, if one of them lacks its number on the nodes.
fn node_ports(spec: &ServiceSpec, taken: &mut Taken) -> Option<Value> {
    let ports = spec.ports.as_ref()?;
    let lacks = |port: &k8s_openapi::api::core::v1::ServicePort| port.node_port.unwrap_or(0) == 0;
    if !ports.iter().any(lacks) {
        return None;
    }
    let mut all = Vec::new();
    for port in ports {
        let mut value = serde_json::to_value(port).ok()?;
        if lacks(port) {
            value["nodePort"] = json!(taken.port()?);
        }
        all.push(value);
    }
    Some(json!(all))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{object, told, world};
    use super::*;

    fn service(name: &str, spec: Value) -> Service {
        object(
            json!({"metadata": {"name": name, "namespace": "n", "uid": name}, "spec": {"ports": [{"port": 80}]}}),
            json!({ "spec": spec }),
        )
    }

    fn patched(services: Vec<Service>) -> Vec<Value> {
        let mut world = world(1);
        world.services = services;
        let actions = decide(&world);
        let patches = actions.into_iter().map(|action| match action {
            Action::Patch { patch, .. } => patch["spec"].clone(),
            other => panic!("{other:?}"),
        });
        patches.collect()
    }

    #[test]
    fn addresses_are_the_lowest_free_ones_of_each_family_asked_for() {
        let taken = service("taken", json!({"clusterIP": "10.96.1.0", "clusterIPs": ["10.96.1.0"]}));
        let dual = service("dual", json!({"ipFamilyPolicy": "RequireDualStack"}));
        let patches = patched(vec![taken, dual, service("single", json!({}))]);
        assert_eq!(patches[0]["clusterIPs"], json!(["10.96.1.1", "fd00:10:96::100"]));
        assert_eq!(patches[0]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(
            (&patches[1]["clusterIP"], &patches[1]["ipFamilies"]),
            (&json!("10.96.1.2"), &json!(["IPv4"]))
        );
    }

    #[test]
    fn a_chosen_address_is_kept_and_none_stays_none() {
        let patches = patched(vec![
            service("dns", json!({"clusterIP": "10.96.0.10"})),
            service("headless", json!({"clusterIP": "None"})),
        ]);
        assert_eq!(patches[0]["clusterIPs"], json!(["10.96.0.10"]));
        assert_eq!((&patches[1]["clusterIPs"], &patches[1]["clusterIP"]), (&json!(["None"]), &Value::Null));
    }

    #[test]
    fn node_ports_are_given_where_they_are_missing() {
        let ips = json!({"clusterIP": "10.96.1.0", "clusterIPs": ["10.96.1.0"], "type": "NodePort"});
        let mut spec = ips;
        spec["ports"] = json!([{"port": 80, "nodePort": 30000}, {"port": 81}]);
        let patches = patched(vec![service("np", spec)]);
        let ports: Vec<_> =
            patches[0]["ports"].as_array().unwrap().iter().map(|port| port["nodePort"].clone()).collect();
        assert_eq!(ports, [30000, 30001]);
    }

    #[test]
    fn what_has_everything_is_left_alone() {
        let mut world = world(1);
        world.services = vec![
            service("a", json!({"clusterIP": "10.96.1.0", "clusterIPs": ["10.96.1.0"]})),
            service("e", json!({"type": "ExternalName", "externalName": "x.y"})),
        ];
        assert!(told(&decide(&world)).is_empty());
    }
}
