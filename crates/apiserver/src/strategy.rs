//! What differs between kinds: defaults, checks, what a status write may touch, how deletion goes. Pure; one value of one
//! trait per kind, with the common case as the trait's own methods.

mod access;
mod certificate;
mod content;
mod definition;
pub(crate) mod event;
pub(crate) mod fields;
mod names;
mod namespace;
mod pod;
mod selector;
mod service;
mod small;
mod storage;
mod webhooks;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::json::{carry, items, text};
use crate::status::Cause;

pub(crate) use self::access::{Binding, Role};
pub(crate) use self::certificate::SigningRequest;
pub(crate) use self::content::{ConfigMap, Secret};
pub(crate) use self::definition::Definition;
pub(crate) use self::event::Event;
pub(crate) use self::names::NameRule;
pub(crate) use self::namespace::Namespace;
pub(crate) use self::pod::{Pod, bind as bind_pod};
pub(crate) use self::service::{Service, needs_address, needs_node_ports};
pub(crate) use self::small::{DisruptionBudget, EndpointSlice, Lease, NetworkPolicy, PriorityClass};
pub(crate) use self::storage::{Claim, Volume};
pub(crate) use self::webhooks::{MutatingWebhooks, ValidatingWebhooks};
pub(crate) use self::workloads::{DaemonSet, Deployment, PodTemplate, ReplicaSet, StatefulSet};

/// A moment as `metadata` has it: RFC 3339, whole seconds, UTC.
pub(crate) fn moment(now: Timestamp) -> Value {
    json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The rules of a kind. Objects are whole, with `metadata` an object.
pub trait Strategy: Send + Sync {
    /// What names may look like.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Fills in what clients may leave out; on create and on update.
    fn default(&self, _object: &mut Value) {}

    /// Makes a new object what the server starts with; `has_status` if status is a sub-resource.
    fn begin(&self, object: &mut Value, has_status: bool, _now: Timestamp) {
        if has_status {
            carry("status", &Value::Null, object);
        }
    }

    /// What is wrong with a new object besides that.
    fn validate_new(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// Makes of a changed object what the server keeps count of; after what clients may not write was put back.
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}

    /// What is wrong with `object`.
    fn validate(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// What may not change from `old` to `new`.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// Puts back into `new`, written through /status, what that may not touch.
    fn restrict_status_update(&self, new: &mut Value, old: &Value) {
        carry("spec", old, new);
    }

    /// The same for what is written through the sub-resource `below`, such as `resize`: only what that is about may change.
    fn restrict_update_below(&self, _below: &str, new: &mut Value, old: &Value) {
        *new = old.clone();
    }

    /// True if a write needs the resourceVersion of what it replaces.
    fn demands_resource_version(&self) -> bool {
        false
    }

    /// True if this object may never be deleted.
    fn is_protected(&self, _name: &str) -> bool {
        false
    }

    /// True if objects are given time to end, be it none.
    fn ends_gracefully(&self) -> bool {
        false
    }

    /// Seconds that `object` is given to end, of which the client asked for `asked`.
    fn grace_seconds(&self, _object: &Value, _asked: Option<i64>) -> i64 {
        0
    }

    /// True if a deletion answers with the object instead of a Status.
    fn answers_with_object(&self) -> bool {
        false
    }

    /// Changes `object`, whose deletion begins.
    fn begin_deletion(&self, _object: &mut Value) {}
}

/// Kinds without rules of their own.
pub(crate) struct Plain;
impl Strategy for Plain {}

/// Nodes.
pub(crate) struct Node;
impl Strategy for Node {
    /// A kubelet registers its node with status and all.
    fn begin(&self, _object: &mut Value, _has_status: bool, _now: Timestamp) {}

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let taints = items(object, "spec.taints").iter().enumerate();
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        let taint = |(t, taint): (usize, &Value)| {
            fields::one_of(&format!("metadata.taints[{t}].effect"), text(taint, "effect"), &effects)
        };
        let cidrs = items(object, "spec.podCIDRs").iter().filter_map(Value::as_str).enumerate();
        let cidr = |(c, cidr): (usize, &str)| fields::cidr(&format!("spec.podCIDRs[{c}]"), cidr);
        taints.filter_map(taint).chain(cidrs.filter_map(cidr)).collect()
    }
}

/// Kinds whose deletion answers with the object.
pub(crate) struct Returned;
impl Strategy for Returned {
    fn answers_with_object(&self) -> bool {
        true
    }
}

/// Objects of CustomResourceDefinitions.
pub(crate) struct Custom;
impl Strategy for Custom {
    fn demands_resource_version(&self) -> bool {
        true
    }

    /// Only status: metadata and everything else stay.
    fn restrict_status_update(&self, new: &mut Value, old: &Value) {
        let status = new.get("status").cloned();
        let version = new["metadata"]["resourceVersion"].take();
        *new = old.clone();
        new["metadata"]["resourceVersion"] = version;
        carry("status", &json!({"status": status}), new);
        if status.is_none() {
            carry("status", &Value::Null, new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_write_of_a_custom_object_touches_nothing_else() {
        let old =
            json!({"metadata": {"resourceVersion": "1", "labels": {}}, "spec": {"a": 1}, "status": {"s": 1}});
        let mut new = json!({"metadata": {"resourceVersion": "1", "labels": {"x": "y"}}, "spec": {"a": 2}, "status": {"s": 2}});
        Custom.restrict_status_update(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"resourceVersion": "1", "labels": {}}, "spec": {"a": 1}, "status": {"s": 2}})
        );
        let mut none = json!({"metadata": {}});
        Custom.restrict_status_update(&mut none, &old);
        assert!(none.get("status").is_none());
    }
}
