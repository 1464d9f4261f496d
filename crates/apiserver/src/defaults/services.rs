//! Services, endpoints, and what else is about the network.

use serde_json::{Value, json};

use super::Rule;
use crate::json::{carry, child, default, each, items, text};

/// Seconds that a client keeps its endpoint.
const AFFINITY_SECONDS: i64 = 10_800;

#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    "core.v1.Service",
    "core.v1.EndpointPort",
    "discovery.v1.EndpointPort",
    "networking.v1.NetworkPolicy",
    "networking.v1.NetworkPolicyPort",
    "networking.v1.IngressClass",
];

pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "core.v1.Service" => service,
        "core.v1.EndpointPort" => |port| default(port, "protocol", "TCP"),
        "discovery.v1.EndpointPort" => |port| {
            default(port, "name", "");
            default(port, "protocol", "TCP");
        },
        "networking.v1.NetworkPolicy" => network_policy,
        "networking.v1.NetworkPolicyPort" => |port| default(port, "protocol", "TCP"),
        "networking.v1.IngressClass" => |class| {
            if let Some(parameters) = class.pointer_mut("/spec/parameters") {
                default(parameters, "scope", "Cluster");
            }
        },
        _ => return None,
    })
}

fn service(service: &mut Value) {
    let spec = child(service, "spec");
    default(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => carry("sessionAffinityConfig", &Value::Null, spec),
        "ClientIP" => {
            let config = child(child(spec, "sessionAffinityConfig"), "clientIP");
            default(config, "timeoutSeconds", AFFINITY_SECONDS);
        }
        _ => {}
    }
    default(spec, "type", "ClusterIP");
    each(spec, "ports").for_each(port);
    let kind = text(spec, "type").to_owned();
    if is_external(spec) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
        for ingress in
            service.pointer_mut("/status/loadBalancer").into_iter().flat_map(|lb| each(lb, "ingress"))
        {
            if !text(ingress, "ip").is_empty() {
                default(ingress, "ipMode", "VIP");
            }
        }
    }
}

/// True if the service is reached from outside of the cluster.
fn is_external(spec: &Value) -> bool {
    let kind = text(spec, "type");
    kind == "NodePort"
        || kind == "LoadBalancer"
        || (kind == "ClusterIP" && !items(spec, "externalIPs").is_empty())
}

fn port(port: &mut Value) {
    default(port, "protocol", "TCP");
    if port["targetPort"] == 0 || port["targetPort"] == "" {
        carry("targetPort", &Value::Null, port);
    }
    let own = port["port"].clone();
    default(port, "targetPort", own);
}

fn network_policy(policy: &mut Value) {
    let spec = child(policy, "spec");
    let types =
        if items(spec, "egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
    default(spec, "policyTypes", types);
}
