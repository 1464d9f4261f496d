//! Endpoints, between API objects and the allocator's words (spec/spiderpool.md 2.4).

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use polynic_api::spider::endpoint::{self, Allocation, EndpointStatus, InterfaceAddresses};
use polynic_api::spider::{API_VERSION, FINALIZER, Nothing, Route, SpiderKind};
use polynic_ipam::{Assigned, Endpoint, EndpointInterface, PodKey, PoolRoute};
use polynic_net::IpNet;

use super::pools;
use crate::spider::Stored;

/// Where endpoints of a namespace are read and written.
pub(super) fn path(namespace: &str) -> String {
    format!("/apis/{API_VERSION}/namespaces/{namespace}/{}", endpoint::Endpoint::PLURAL)
}

/// An endpoint in the allocator's words.
///
/// # Errors
/// Names the field that cannot be read.
pub(super) fn endpoint(stored: &Stored<endpoint::Endpoint>) -> Result<Endpoint, String> {
    let metadata = &stored.metadata;
    let status = stored.status.clone().unwrap_or_default();
    Ok(Endpoint {
        key: PodKey::new(
            metadata.namespace.clone().unwrap_or_default(),
            metadata.name.clone().unwrap_or_default(),
        ),
        object_uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        terminating: metadata.deletion_timestamp.is_some(),
        uid: status.current.uid,
        node: status.current.node,
        interfaces: status.current.ips.iter().map(interface).collect::<Result<_, _>>()?,
        owner_kind: status.owner_controller_type,
        owner_name: status.owner_controller_name,
        owned_by_pod: metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Pod"),
    })
}

fn interface(item: &InterfaceAddresses) -> Result<EndpointInterface, String> {
    Ok(EndpointInterface {
        nic: item.interface.clone(),
        ipv4: assigned(item.ipv4.as_deref(), item.ipv4_pool.as_deref(), item.ipv4_gateway.as_deref())?,
        ipv6: assigned(item.ipv6.as_deref(), item.ipv6_pool.as_deref(), item.ipv6_gateway.as_deref())?,
        vlan: item.vlan.unwrap_or_default(),
        clean_gateway: item.clean_gateway,
        routes: item.routes.iter().map(pools::route).collect::<Result<_, _>>()?,
        mac: item.mac.clone().filter(|mac| !mac.is_empty()),
    })
}

fn assigned(
    address: Option<&str>,
    pool: Option<&str>,
    gateway: Option<&str>,
) -> Result<Option<Assigned>, String> {
    let Some(text) = address.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = |text: &str| format!("{text:?} is no address");
    let address: IpNet = text.parse().map_err(|_| wrong(text))?;
    let gateway = gateway.filter(|text| !text.is_empty());
    let gateway = gateway.map(|text| text.parse::<IpAddr>().map_err(|_| wrong(text))).transpose()?;
    Ok(Some(Assigned { address, pool: pool.unwrap_or_default().to_owned(), gateway }))
}

/// A new object of an endpoint.
pub(super) fn object(endpoint: &Endpoint) -> Stored<endpoint::Endpoint> {
    let PodKey { namespace, name } = endpoint.key.clone();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.clone(),
        uid: endpoint.uid.clone(),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace),
        finalizers: Some(vec![FINALIZER.to_owned()]),
        owner_references: endpoint.owned_by_pod.then(|| vec![owner]),
        ..ObjectMeta::default()
    };
    Stored {
        api_version: API_VERSION.to_owned(),
        kind: endpoint::Endpoint::KIND.to_owned(),
        metadata,
        spec: Nothing {},
        status: Some(status(endpoint)),
    }
}

/// The status of an endpoint's object.
pub(super) fn status(endpoint: &Endpoint) -> EndpointStatus {
    EndpointStatus {
        current: Allocation {
            uid: endpoint.uid.clone(),
            node: endpoint.node.clone(),
            ips: endpoint.interfaces.iter().map(item).collect(),
        },
        owner_controller_type: endpoint.owner_kind.clone(),
        owner_controller_name: endpoint.owner_name.clone(),
    }
}

fn item(interface: &EndpointInterface) -> InterfaceAddresses {
    let address = |own: &Option<Assigned>| own.as_ref().map(|own| own.address.to_string());
    let pool = |own: &Option<Assigned>| own.as_ref().map(|own| own.pool.clone());
    let gateway = |own: &Option<Assigned>| own.as_ref().and_then(|own| own.gateway).map(|ip| ip.to_string());
    InterfaceAddresses {
        interface: interface.nic.clone(),
        ipv4: address(&interface.ipv4),
        ipv6: address(&interface.ipv6),
        ipv4_pool: pool(&interface.ipv4),
        ipv6_pool: pool(&interface.ipv6),
        vlan: Some(interface.vlan),
        ipv4_gateway: gateway(&interface.ipv4),
        ipv6_gateway: gateway(&interface.ipv6),
        clean_gateway: interface.clean_gateway,
        routes: interface.routes.iter().map(route).collect(),
        mac: interface.mac.clone(),
    }
}

fn route(route: &PoolRoute) -> Route {
    Route { dst: route.dst.to_string(), gw: route.gw.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Endpoint {
        let assigned = Assigned {
            address: "10.9.0.7/16".parse().unwrap(),
            pool: "p".into(),
            gateway: Some("10.9.0.1".parse().unwrap()),
        };
        let route = PoolRoute { dst: "10.8.0.0/16".parse().unwrap(), gw: "10.9.0.2".parse().unwrap() };
        let interface = EndpointInterface {
            nic: "eth0".into(),
            ipv4: Some(assigned),
            clean_gateway: Some(false),
            routes: vec![route],
            ..EndpointInterface::default()
        };
        Endpoint {
            key: PodKey::new("a", "web-0"),
            object_uid: String::new(),
            resource_version: String::new(),
            terminating: false,
            uid: "u".into(),
            node: "n".into(),
            interfaces: vec![interface],
            owner_kind: "Deployment".into(),
            owner_name: "web".into(),
            owned_by_pod: true,
        }
    }

    #[test]
    fn a_new_object_has_finalizer_owner_and_status() {
        let object = serde_json::to_value(object(&sample())).unwrap();
        let expected = json!({
            "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderEndpoint",
            "metadata": {"name": "web-0", "namespace": "a", "finalizers": ["spiderpool.spidernet.io"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "u"}]},
            "status": {"ownerControllerType": "Deployment", "ownerControllerName": "web", "current": {
                "uid": "u", "node": "n", "ips": [{
                    "interface": "eth0", "ipv4": "10.9.0.7/16", "ipv4Pool": "p", "ipv4Gateway": "10.9.0.1",
                    "cleanGateway": false, "vlan": 0, "routes": [{"dst": "10.8.0.0/16", "gw": "10.9.0.2"}]}]}},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut fixed = sample();
        fixed.owned_by_pod = false;
        for mut endpoint in [sample(), fixed] {
            let mut stored = object(&endpoint);
            stored.metadata.uid = Some("o".into());
            stored.metadata.resource_version = Some("9".into());
            (endpoint.object_uid, endpoint.resource_version) = ("o".into(), "9".into());
            assert_eq!(super::endpoint(&stored).unwrap(), endpoint);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut stored = object(&sample());
        stored.status.as_mut().unwrap().current.ips[0].ipv4 = Some("10.9.0.300/16".into());
        assert!(super::endpoint(&stored).unwrap_err().contains("10.9.0.300/16"));
    }
}
