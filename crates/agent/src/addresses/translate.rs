//! Between the API's bodies and the allocator's words.

use polynic_ipam::{
    AddRequest, Endpoint, EndpointInterface, Grant, Granted, GrantedRoute, Millis, PodKey, PoolRoute,
    ReleaseKind, ReleaseRequest,
};
use polynic_net::Family;
use polynic_wire::messages;

/// A request for addresses. Its deadline is the engine's to set.
pub(crate) fn add_request(request: &messages::AddRequest) -> AddRequest {
    AddRequest {
        pod: PodKey::new(&request.pod_namespace, &request.pod_name),
        uid: request.pod_uid.clone(),
        container_id: request.container_id.clone(),
        nic: request.if_name.clone(),
        default_ipv4_pools: request.default_ipv4_ippool.clone(),
        default_ipv6_pools: request.default_ipv6_ippool.clone(),
        clean_gateway: request.clean_gateway,
        // Who asks for it and does not say where: nothing matches, which the error says.
        master_addresses: request
            .match_master_subnet
            .then(|| request.master_addresses.clone().unwrap_or_default()),
        deadline: Millis::default(),
    }
}

/// A release by DEL.
pub(crate) fn release_request(request: &messages::DelRequest) -> ReleaseRequest {
    ReleaseRequest {
        pod: PodKey::new(&request.pod_namespace, &request.pod_name),
        uid: request.pod_uid.clone(),
        container_id: request.container_id.clone(),
        nic: request.if_name.clone(),
        kind: if request.is_detached { ReleaseKind::Interface } else { ReleaseKind::Pod },
        deadline: Millis::default(),
    }
}

/// A release after a probe.
pub(crate) fn batch_request(request: &messages::BatchDelRequest) -> ReleaseRequest {
    let kind = if request.is_release_conflict_ips { ReleaseKind::Conflict } else { ReleaseKind::Probe };
    ReleaseRequest {
        pod: PodKey::new(&request.pod_namespace, &request.pod_name),
        uid: request.pod_uid.clone(),
        container_id: request.container_id.clone(),
        nic: request.if_name.clone(),
        kind,
        deadline: Millis::default(),
    }
}

/// What plugins are to probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detection {
    pub(crate) conflicts: bool,
    pub(crate) gateways: bool,
}

/// The answer to a request for addresses, with what is to be probed.
pub(crate) fn add_response(grant: &Grant, detection: Detection) -> messages::AddResponse {
    messages::AddResponse {
        ips: grant.addresses.iter().map(|granted| ip(granted, detection)).collect(),
        routes: grant.routes.iter().map(route).collect(),
        dns: None,
    }
}

fn ip(granted: &Granted, detection: Detection) -> messages::IpConfig {
    let version = match Family::of(granted.address.addr()) {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    messages::IpConfig {
        version,
        address: granted.address.to_string(),
        nic: granted.nic.clone(),
        ip_pool: granted.pool.clone(),
        gateway: granted.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        vlan: granted.vlan,
        mac: granted.mac.clone().unwrap_or_default(),
        enable_gateway_detection: detection.gateways && granted.gateway.is_some(),
        enable_ip_conflict_detection: detection.conflicts,
    }
}

fn route(granted: &GrantedRoute) -> messages::Route {
    let PoolRoute { dst, gw } = &granted.route;
    messages::Route { if_name: granted.nic.clone(), dst: dst.to_string(), gw: gw.to_string() }
}

/// What `GET /workloadendpoint` says of an endpoint.
pub(crate) fn workload_endpoint(endpoint: &Endpoint) -> messages::WorkloadEndpoint {
    messages::WorkloadEndpoint {
        pod_namespace: endpoint.key.namespace.clone(),
        pod_name: endpoint.key.name.clone(),
        pod_uid: endpoint.uid.clone(),
        node: endpoint.node.clone(),
        interfaces: endpoint.interfaces.iter().map(interface).collect(),
    }
}

fn interface(own: &EndpointInterface) -> messages::EndpointInterface {
    let routes = own.routes.iter();
    let mut interface = messages::EndpointInterface {
        interface: own.nic.clone(),
        mac: own.mac.clone().unwrap_or_default(),
        vlan: own.vlan,
        routes: routes
            .map(|r| messages::PolicyRoute { dst: r.dst.to_string(), gw: r.gw.to_string() })
            .collect(),
        ..messages::EndpointInterface::default()
    };
    let gateway = |gateway: Option<std::net::IpAddr>| gateway.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some(ipv4) = &own.ipv4 {
        interface.ipv4 = ipv4.address.to_string();
        interface.ipv4_pool = ipv4.pool.clone();
        interface.ipv4_gateway = gateway(ipv4.gateway);
    }
    if let Some(ipv6) = &own.ipv6 {
        interface.ipv6 = ipv6.address.to_string();
        interface.ipv6_pool = ipv6.pool.clone();
        interface.ipv6_gateway = gateway(ipv6.gateway);
    }
    interface
}
