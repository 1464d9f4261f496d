//! Kinds with a rule or two: leases, priority classes, disruption budgets, endpoint slices, network policies.

use serde_json::{Value, json};

use super::{NameRule, Strategy, fields};
use crate::json::{at, integer, items, text};
use crate::status::Cause;

/// The highest priority that is not the system's.
const HIGHEST_PRIORITY: i64 = 1_000_000_000;

/// Leases.
pub(crate) struct Lease;
impl Strategy for Lease {
    fn demands_resource_version(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let field = "spec.leaseDurationSeconds";
        let seconds = integer(object, field).filter(|seconds| *seconds <= 0);
        let wrong =
            seconds.map(|seconds| Cause::invalid_value(field, &json!(seconds), "must be greater than 0"));
        wrong
            .into_iter()
            .chain(fields::not_negative(object, "spec.leaseTransitions", "spec.leaseTransitions"))
            .collect()
    }
}

/// PriorityClasses.
pub(crate) struct PriorityClass;
impl Strategy for PriorityClass {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let name = text(object, "metadata.name");
        if ["system-cluster-critical", "system-node-critical"].contains(&name) {
            return Vec::new();
        }
        if name.starts_with("system-") {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            );
            return vec![Cause::forbidden("metadata.name", &detail)];
        }
        if integer(object, "value").unwrap_or(0) > HIGHEST_PRIORITY {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}");
            return vec![Cause::forbidden("value", &detail)];
        }
        Vec::new()
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let changed = ["value", "preemptionPolicy"].into_iter().filter(|key| new.get(*key) != old.get(*key));
        let cause = |key: &str| match key {
            "value" => Cause::forbidden(key, "may not be changed in an update."),
            _ => Cause::invalid(key, text(new, key), "field is immutable"),
        };
        changed.map(cause).collect()
    }
}

/// PodDisruptionBudgets.
pub(crate) struct DisruptionBudget;
impl Strategy for DisruptionBudget {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = &object["spec"];
        let (least, most) = (at(spec, "minAvailable"), at(spec, "maxUnavailable"));
        let mut causes = Vec::new();
        if let (Some(least), Some(most)) = (least, most) {
            let selector = at(spec, "selector").cloned().unwrap_or_default();
            let shown = format!(
                r#"{{"MinAvailable":{least},"Selector":{selector},"MaxUnavailable":{most},"UnhealthyPodEvictionPolicy":null}}"#
            );
            let message =
                format!("Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set");
            causes.push(Cause { field: "spec".into(), reason: "FieldValueInvalid", message });
        }
        causes.extend(fields::share_or_count("spec.minAvailable", least));
        causes.extend(fields::share_or_count("spec.maxUnavailable", most));
        causes.extend(at(spec, "selector").into_iter().flat_map(|s| fields::selector("spec.selector", s)));
        causes
    }
}

/// EndpointSlices.
pub(crate) struct EndpointSlice;
impl Strategy for EndpointSlice {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let kind = text(object, "addressType");
        let mut causes: Vec<Cause> =
            fields::one_of("addressType", kind, &["FQDN", "IPv4", "IPv6"]).into_iter().collect();
        for (p, port) in items(object, "ports").iter().enumerate() {
            causes.extend(fields::named(&format!("ports[{p}].name"), text(port, "name"), NameRule::Label));
            let protocols = ["SCTP", "TCP", "UDP"];
            causes.extend(fields::one_of(
                &format!("ports[{p}].protocol"),
                text(port, "protocol"),
                &protocols,
            ));
        }
        for (e, endpoint) in items(object, "endpoints").iter().enumerate() {
            let field = format!("endpoints[{e}].addresses");
            let addresses = items(endpoint, "addresses");
            if addresses.is_empty() {
                causes.push(Cause::required(&field, "must contain at least 1 address"));
            }
            for (a, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
                causes
                    .extend(fields::ip(&format!("{field}[{a}]"), address).filter(|_| kind.starts_with("IP")));
            }
        }
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let changed = new["addressType"] != old["addressType"];
        let cause = || Cause::invalid("addressType", text(new, "addressType"), "field is immutable");
        changed.then(cause).into_iter().collect()
    }
}

/// NetworkPolicies.
pub(crate) struct NetworkPolicy;
impl Strategy for NetworkPolicy {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = fields::selector("spec.podSelector", &object["spec"]["podSelector"]);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (r, rule) in items(object, &format!("spec.{direction}")).iter().enumerate() {
                let field = format!("spec.{direction}[{r}]");
                for (p, port) in items(rule, "ports").iter().enumerate() {
                    let number = at(port, "port");
                    causes.extend(
                        number.and_then(|n| fields::port_or_name(&format!("{field}.ports[{p}].port"), n)),
                    );
                }
                for (p, peer) in items(rule, peers).iter().enumerate() {
                    causes.extend(peer_causes(&format!("{field}.{peers}[{p}]"), peer));
                }
            }
        }
        causes
    }
}

fn peer_causes(field: &str, peer: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if peer.as_object().is_none_or(|peer| peer.is_empty()) {
        causes.push(Cause::required(field, "must specify a peer"));
    }
    for key in ["podSelector", "namespaceSelector"] {
        causes.extend(at(peer, key).into_iter().flat_map(|s| fields::selector(&format!("{field}.{key}"), s)));
    }
    if let Some(block) = at(peer, "ipBlock") {
        causes.extend(fields::cidr(&format!("{field}.ipBlock.cidr"), text(block, "cidr")));
        if at(peer, "podSelector").or(at(peer, "namespaceSelector")).is_some() {
            let detail =
                "may not be specified when both ipBlock and podSelector/namespaceSelector are specified";
            causes.push(Cause::forbidden(field, detail));
        }
    }
    causes
}
