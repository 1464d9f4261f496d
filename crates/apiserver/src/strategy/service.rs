//! Services: what they may say, and what follows when their type changes. Addresses and ports are given out by
//! `api::addresses`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NameRule, Strategy, fields};
use crate::json::{carry, child, each, integer, items, text};
use crate::status::Cause;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(crate) struct Service;

impl Strategy for Service {
    fn name_rule(&self) -> NameRule {
        NameRule::Label1035
    }

    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"loadBalancer": {}});
        let spec = child(object, "spec");
        if items(spec, "clusterIPs").is_empty() && !text(spec, "clusterIP").is_empty() {
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
        }
    }

    fn answers_with_object(&self) -> bool {
        true
    }

    /// Keeps what was given out, and drops what the new type has no use for and the client did not change.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let (was, spec) = (&old["spec"], child(new, "spec"));
        keep(spec, was);
        drop_unused(spec, was);
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = &object["spec"];
        let mut causes = by_type(spec);
        causes.extend(ports(spec));
        causes.extend(fields::labels("spec.selector", spec.get("selector")));
        let affinity = text(spec, "sessionAffinity");
        causes.extend(fields::one_of("spec.sessionAffinity", affinity, &["ClientIP", "None"]));
        for (i, ip) in items(spec, "clusterIPs").iter().filter_map(Value::as_str).enumerate() {
            if ip != "None" {
                causes.extend(fields::ip(&format!("spec.clusterIPs[{i}]"), ip));
            }
        }
        for (i, ip) in items(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
            causes.extend(fields::ip(&format!("spec.externalIPs[{i}]"), ip));
        }
        causes.extend(fields::one_of("spec.type", text(spec, "type"), &TYPES));
        causes.extend(node_ports(spec));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let before = text(old, "spec.clusterIP");
        let both = needs_address(&new["spec"]) && needs_address(&old["spec"]);
        if !both || before.is_empty() || text(new, "spec.clusterIP") == before {
            return Vec::new();
        }
        let given = &new["spec"]["clusterIPs"];
        vec![Cause::invalid_value("spec.clusterIPs[0]", given, "may not change once set")]
    }
}

/// True if the service has an address in the cluster, or says that it wants none.
pub(crate) fn needs_address(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

/// True if its ports are open on nodes.
pub(crate) fn needs_node_ports(spec: &Value) -> bool {
    let balanced = text(spec, "type") == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false;
    text(spec, "type") == "NodePort" || balanced
}

fn keep(spec: &mut Value, was: &Value) {
    if needs_address(spec) && needs_address(was) {
        if text(spec, "clusterIP").is_empty() && items(spec, "clusterIPs").is_empty() {
            carry("clusterIP", was, spec);
        }
        if items(spec, "clusterIPs").is_empty() && text(spec, "clusterIP") == text(was, "clusterIP") {
            carry("clusterIPs", was, spec);
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if spec.get(key).is_none() {
                carry(key, was, spec);
            }
        }
    }
    if needs_node_ports(spec) && needs_node_ports(was) {
        for port in each(spec, "ports").filter(|port| port.get("nodePort").is_none()) {
            let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
            if let Some(node_port) = items(was, "ports").iter().find(same).and_then(|old| old.get("nodePort"))
            {
                port["nodePort"] = node_port.clone();
            }
        }
    }
}

fn drop_unused(spec: &mut Value, was: &Value) {
    let drop = |spec: &mut Value, keys: &[&str]| {
        for key in keys {
            if spec.get(*key) == was.get(*key) {
                carry(key, &Value::Null, spec);
            }
        }
    };
    if needs_address(was) && !needs_address(spec) {
        drop(spec, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if needs_node_ports(was) && !needs_node_ports(spec) {
        for port in each(spec, "ports") {
            let same = |old: &&Value| old.get("nodePort") == port.get("nodePort");
            if items(was, "ports").iter().any(|old| same(&old)) {
                carry("nodePort", &Value::Null, port);
            }
        }
    }
    let external = |spec: &Value| ["NodePort", "LoadBalancer"].contains(&text(spec, "type"));
    if external(was) && !external(spec) {
        drop(spec, &["externalTrafficPolicy", "healthCheckNodePort"]);
    }
    if text(was, "type") == "LoadBalancer" && text(spec, "type") != "LoadBalancer" {
        drop(spec, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
}

fn by_type(spec: &Value) -> Vec<Cause> {
    let headless = text(spec, "clusterIP") == "None";
    let mut causes = Vec::new();
    match text(spec, "type") {
        "ExternalName" => match text(spec, "externalName") {
            "" => causes.push(Cause::required("spec.externalName", "")),
            name => {
                causes.extend(fields::named("spec.externalName", &name.to_lowercase(), NameRule::Subdomain))
            }
        },
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {} services", text(spec, "type"));
            causes.push(Cause::invalid("spec.clusterIPs[0]", "None", &detail));
        }
        _ if !headless && items(spec, "ports").is_empty() => causes.push(Cause::required("spec.ports", "")),
        _ => {}
    }
    causes
}

fn ports(spec: &Value) -> Vec<Cause> {
    let ports = items(spec, "ports");
    let mut causes = Vec::new();
    for (p, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{p}]");
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{field}.name"), ""));
        } else if !name.is_empty() {
            causes.extend(fields::named(&format!("{field}.name"), name, NameRule::Label));
            if ports[..p].iter().any(|other| text(other, "name") == name) {
                causes.push(Cause::duplicate(format!("{field}.name"), &json!(name)));
            }
        }
        causes.extend(fields::port(&format!("{field}.port"), &port["port"]));
        causes.extend(fields::one_of(&format!("{field}.protocol"), text(port, "protocol"), &PROTOCOLS));
        causes.extend(fields::port_or_name(&format!("{field}.targetPort"), &port["targetPort"]));
    }
    for (p, port) in ports.iter().enumerate() {
        let same = |other: &Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..p].iter().any(same) {
            causes.push(repeated(p, port));
        }
    }
    causes
}

/// As the real server prints what it compared.
fn repeated(p: usize, port: &Value) -> Cause {
    let (protocol, number) = (text(port, "protocol"), integer(port, "port").unwrap_or(0));
    let shown = format!(
        r#"{{"Name":"","Protocol":"{protocol}","AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0}}"#
    );
    let message = format!("Duplicate value: {shown}");
    Cause { field: format!("spec.ports[{p}]"), reason: "FieldValueDuplicate", message }
}

fn node_ports(spec: &Value) -> Vec<Cause> {
    if text(spec, "type") != "ClusterIP" {
        return Vec::new();
    }
    let set = items(spec, "ports").iter().enumerate().filter(|(_, port)| integer(port, "nodePort").is_some());
    let detail = "may not be used when `type` is 'ClusterIP'";
    set.map(|(p, _)| Cause::forbidden(format!("spec.ports[{p}].nodePort"), detail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_type_drops_what_it_has_no_use_for() {
        let old = json!({"spec": {
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_001}],
        }});
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        Service.prepare_update(&mut new, &old);
        assert!(new["spec"]["ports"][0].get("nodePort").is_none());
        assert!(new["spec"].get("externalTrafficPolicy").is_none());
        new["spec"]["type"] = json!("ExternalName");
        let before = old.clone();
        Service.prepare_update(&mut new, &before);
        assert!(new["spec"].get("clusterIP").is_none());
    }

    #[test]
    fn what_was_given_out_stays_where_a_client_leaves_it_out() {
        let old = json!({"spec": {
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_001}],
        }});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        Service.prepare_update(&mut new, &old);
        assert_eq!(new, old);
    }
}
