//! Pods: the defaults that kubelets and `kubectl describe` rely on, what may change in a pod, and its graceful end.

mod container;
mod resources;
pub(super) mod spec;
mod volume;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, moment};
use crate::json::{at, carry, child, default, each, integer, items, text};
use crate::status::Cause;

pub(crate) struct Pod;

impl Strategy for Pod {
    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"phase": "Pending", "qosClass": qos_class(object)});
        if !items(object, "spec.schedulingGates").is_empty() {
            object["status"]["conditions"] = json!([gated()]);
        }
        let spec = child(object, "spec");
        give_priority(spec);
        tolerate_lost_nodes(spec);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if new["spec"]["tolerations"] != old["spec"]["tolerations"] {
            tolerate_lost_nodes(child(new, "spec"));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        spec::causes(&object["spec"], "spec")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        if ["containers", "initContainers"].iter().any(|list| names(new, list) != names(old, list)) {
            let detail = "pod updates may not add or remove containers";
            return vec![Cause::forbidden("spec.containers", detail)];
        }
        if let Some(cause) = deadline(new, old) {
            return vec![cause];
        }
        if fixed_part(new, old) == *old.get("spec").unwrap_or(&Value::Null) {
            return Vec::new();
        }
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
            `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        vec![Cause::forbidden("spec", detail)]
    }

    /// Annotations and labels go through /status, the spec and the owners do not
    /// (`pkg/registry/core/pod/strategy.go`). Multus relies on the former.
    fn restrict_status_update(&self, new: &mut Value, old: &Value) {
        carry("spec", old, new);
        carry("ownerReferences", &old["metadata"], child(new, "metadata"));
        default(new, "status", json!({}));
        carry_qos_class(new, old);
    }

    fn restrict_update_below(&self, below: &str, new: &mut Value, old: &Value) {
        let wanted = new["spec"].clone();
        let version = new["metadata"]["resourceVersion"].clone();
        *new = old.clone();
        new["metadata"]["resourceVersion"] = version;
        let spec = child(new, "spec");
        match below {
            "ephemeralcontainers" => carry("ephemeralContainers", &wanted, spec),
            "resize" => {
                for list in ["containers", "initContainers"] {
                    for container in each(spec, list) {
                        let name = container["name"].clone();
                        let same = items(&wanted, list).iter().find(|other| other["name"] == name);
                        same.into_iter().for_each(|other| carry("resources", other, container));
                    }
                }
            }
            _ => {}
        }
    }

    fn ends_gracefully(&self) -> bool {
        true
    }

    fn grace_seconds(&self, object: &Value, asked: Option<i64>) -> i64 {
        let ended = ["Succeeded", "Failed"].contains(&text(object, "status.phase"));
        if ended || text(object, "spec.nodeName").is_empty() {
            return 0;
        }
        let own = integer(object, "spec.terminationGracePeriodSeconds").unwrap_or(30);
        asked.unwrap_or(own).max(0)
    }

    fn answers_with_object(&self) -> bool {
        true
    }
}

/// A pod that waits for its gates says so at once.
fn gated() -> Value {
    json!({
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": null, "lastTransitionTime": null,
    })
}

/// What the admission plugin Priority does where no class has to be looked up.
fn give_priority(spec: &mut Value) {
    let value = match text(spec, "priorityClassName") {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        _ => return,
    };
    default(spec, "priority", value);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
}

/// What the admission plugin DefaultTolerationSeconds does.
fn tolerate_lost_nodes(spec: &mut Value) {
    let mut tolerations = items(spec, "tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers =
            |t: &Value| ["", "NoExecute"].contains(&text(t, "effect")) && ["", key].contains(&text(t, "key"));
        if !tolerations.iter().any(covers) {
            tolerations.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
    spec["tolerations"] = json!(tolerations);
}

fn names<'p>(pod: &'p Value, list: &str) -> Vec<&'p str> {
    items(pod, &format!("spec.{list}")).iter().map(|container| text(container, "name")).collect()
}

/// A deadline may come, and come closer.
fn deadline(new: &Value, old: &Value) -> Option<Cause> {
    let before = integer(old, "spec.activeDeadlineSeconds")?;
    let field = "spec.activeDeadlineSeconds";
    match integer(new, field) {
        None => Some(Cause::invalid_value(
            field,
            &Value::Null,
            "must not update from a positive integer to nil value",
        )),
        Some(now) if now > before => {
            Some(Cause::invalid_value(field, &json!(now), "must be less than or equal to previous value"))
        }
        Some(_) => None,
    }
}

/// The spec of `new` with everything that may change put back to what it is in `old`.
fn fixed_part(new: &Value, old: &Value) -> Value {
    let mut spec = new.get("spec").cloned().unwrap_or_default();
    let was = &old["spec"];
    carry("activeDeadlineSeconds", was, &mut spec);
    carry("terminationGracePeriodSeconds", was, &mut spec);
    if items(was, "tolerations").iter().all(|t| items(&spec, "tolerations").contains(t)) {
        carry("tolerations", was, &mut spec);
    }
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, before) in containers.zip(items(was, list)) {
            carry("image", before, container);
        }
    }
    spec
}

/// The class is decided at creation.
fn carry_qos_class(new: &mut Value, old: &Value) {
    if at(old, "status.qosClass").is_some() {
        let class = old["status"]["qosClass"].clone();
        child(new, "status")["qosClass"] = class;
    }
}

/// Guaranteed if every container limits cpu and memory to what it requests, BestEffort if none says anything.
fn qos_class(pod: &Value) -> &'static str {
    let containers =
        || ["spec.containers", "spec.initContainers"].into_iter().flat_map(|list| items(pod, list));
    let says = |c: &Value, which: &str, what: &str| at(c, &format!("resources.{which}.{what}")).cloned();
    let what = ["cpu", "memory"];
    let mentions = |c: &Value| what.iter().any(|w| says(c, "limits", w).or(says(c, "requests", w)).is_some());
    if !containers().any(mentions) {
        return "BestEffort";
    }
    let fixed = |c: &Value| {
        what.iter().all(|w| {
            let limit = says(c, "limits", w);
            limit.is_some() && says(c, "requests", w).is_none_or(|request| Some(request) == limit)
        })
    };
    if containers().all(fixed) { "Guaranteed" } else { "Burstable" }
}

/// Gives `pod` its node, once, as the scheduler asks through pods/binding.
pub(crate) fn bind(pod: &mut Value, node: &str, now: Timestamp) -> Result<(), String> {
    let bound = text(pod, "spec.nodeName");
    if !bound.is_empty() {
        return Err(format!("pod {} is already assigned to node {bound:?}", text(pod, "metadata.name")));
    }
    child(pod, "spec")["nodeName"] = json!(node);
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": moment(now)});
    let mut conditions = items(pod, "status.conditions").to_vec();
    conditions.retain(|c| text(c, "type") != "PodScheduled");
    conditions.push(condition);
    child(pod, "status")["conditions"] = json!(conditions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "containers": [{"name": "a", "image": "alpine", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            },
        });
        Pod.begin(&mut pod, true, Timestamp::UNIX_EPOCH);
        pod
    }

    #[test]
    fn a_new_pod_is_pending() {
        let pod = pod();
        assert_eq!((text(&pod, "status.phase"), text(&pod, "status.qosClass")), ("Pending", "BestEffort"));
        assert_eq!(Pod.validate(&pod), []);
    }

    #[test]
    fn a_pod_tolerates_lost_nodes_for_a_while_unless_it_says_otherwise() {
        assert_eq!(items(&pod(), "spec.tolerations").len(), 2);
        let mut own = json!({"tolerations": [{"operator": "Exists"}]});
        tolerate_lost_nodes(&mut own);
        assert_eq!(items(&own, "tolerations").len(), 1);
    }

    #[test]
    fn only_images_deadlines_and_new_tolerations_may_change() {
        let old = pod();
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = json!("busybox");
        let mut tolerations = items(&old, "spec.tolerations").to_vec();
        tolerations.push(json!({"key": "x"}));
        new["spec"]["tolerations"] = json!(tolerations);
        assert_eq!(Pod.validate_update(&new, &old), []);
        new["spec"]["nodeName"] = json!("n");
        assert_eq!(Pod.validate_update(&new, &old).len(), 1);
    }

    #[test]
    fn annotations_pass_through_status_and_spec_does_not() {
        let old = pod();
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"a": "b"});
        new["spec"]["nodeName"] = json!("n");
        new["status"] = json!({"phase": "Running"});
        Pod.restrict_status_update(&mut new, &old);
        assert_eq!(new["metadata"]["annotations"]["a"], "b");
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
    }

    #[test]
    fn only_a_pod_on_a_node_is_given_time_to_end() {
        let mut pod = pod();
        assert_eq!(Pod.grace_seconds(&pod, None), 0);
        bind(&mut pod, "n1", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((Pod.grace_seconds(&pod, None), Pod.grace_seconds(&pod, Some(5))), (30, 5));
        pod["status"]["phase"] = json!("Succeeded");
        assert_eq!(Pod.grace_seconds(&pod, None), 0);
    }

    #[test]
    fn a_pod_is_bound_once() {
        let mut pod = pod();
        bind(&mut pod, "n1", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(items(&pod, "status.conditions").len(), 1);
        assert!(bind(&mut pod, "n2", Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn qos_follows_requests_and_limits() {
        let class =
            |resources: Value| qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}));
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!({"limits": both})), "Guaranteed");
        assert_eq!(class(json!({"limits": both, "requests": {"cpu": "500m"}})), "Burstable");
        assert_eq!(class(json!({})), "BestEffort");
    }
}
