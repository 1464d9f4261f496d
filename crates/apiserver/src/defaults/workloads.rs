//! Kinds that make pods, and what scales them.

use serde_json::{Value, json};

use super::Rule;
use crate::json::{at, child, default, each, text};

#[cfg(test)]
pub(super) const NAMES: &[&str] = &[
    "apps.v1.Deployment",
    "apps.v1.DaemonSet",
    "apps.v1.StatefulSet",
    "apps.v1.ReplicaSet",
    "core.v1.ReplicationController",
    "batch.v1.Job",
    "batch.v1.CronJob",
    "batch.v1.PodFailurePolicyOnPodConditionsPattern",
    "autoscaling.v1.HorizontalPodAutoscaler",
    "autoscaling.v2.HorizontalPodAutoscaler",
];

pub(super) fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "apps.v1.Deployment" => deployment,
        "apps.v1.DaemonSet" => daemon_set,
        "apps.v1.StatefulSet" => stateful_set,
        "apps.v1.ReplicaSet" => |set| default(child(set, "spec"), "replicas", 1),
        "core.v1.ReplicationController" => replication_controller,
        "batch.v1.Job" => job,
        "batch.v1.CronJob" => cron_job,
        "batch.v1.PodFailurePolicyOnPodConditionsPattern" => |pattern| default(pattern, "status", "True"),
        "autoscaling.v1.HorizontalPodAutoscaler" => |scaler| default(child(scaler, "spec"), "minReplicas", 1),
        "autoscaling.v2.HorizontalPodAutoscaler" => autoscaler,
        _ => return None,
    })
}

/// The strategy at `key`, with its type and, if that is a rolling update, its parameters.
fn rolling(spec: &mut Value, key: &str, parameters: &[(&str, Value)]) {
    let strategy = child(spec, key);
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let update = child(strategy, "rollingUpdate");
        for (name, value) in parameters {
            default(update, name, value.clone());
        }
    }
}

fn deployment(deployment: &mut Value) {
    let spec = child(deployment, "spec");
    default(spec, "replicas", 1);
    rolling(spec, "strategy", &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
}

fn daemon_set(set: &mut Value) {
    let spec = child(set, "spec");
    rolling(spec, "updateStrategy", &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    default(spec, "revisionHistoryLimit", 10);
}

fn stateful_set(set: &mut Value) {
    let spec = child(set, "spec");
    default(spec, "podManagementPolicy", "OrderedReady");
    let names_parameters = at(spec, "updateStrategy.rollingUpdate").is_some();
    if text(spec, "updateStrategy.type").is_empty() || names_parameters {
        rolling(spec, "updateStrategy", &[("partition", json!(0))]);
    }
    let retention = child(spec, "persistentVolumeClaimRetentionPolicy");
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    for claim in each(spec, "volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
    }
}

fn replication_controller(controller: &mut Value) {
    let labels = at(controller, "spec.template.metadata.labels").cloned();
    let spec = child(controller, "spec");
    default(spec, "replicas", 1);
    if let Some(labels) = labels {
        default(spec, "selector", labels.clone());
        default(child(controller, "metadata"), "labels", labels);
    }
}

fn job(job: &mut Value) {
    let labels = at(job, "spec.template.metadata.labels").cloned();
    let spec = child(job, "spec");
    if at(spec, "completions").is_none() && at(spec, "parallelism").is_none() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let by_index = at(spec, "backoffLimitPerIndex").is_some();
    default(spec, "backoffLimit", if by_index { i32::MAX } else { 6 });
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    let by_policy = at(spec, "podFailurePolicy").is_some();
    default(spec, "podReplacementPolicy", if by_policy { "Failed" } else { "TerminatingOrFailed" });
    default(spec, "manualSelector", false);
    if let Some(labels) = labels {
        default(child(job, "metadata"), "labels", labels);
    }
}

fn cron_job(job: &mut Value) {
    let spec = child(job, "spec");
    default(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
}

fn autoscaler(scaler: &mut Value) {
    let spec = child(scaler, "spec");
    default(spec, "minReplicas", 1);
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    default(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) else { return };
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let up = child(behavior, "scaleUp");
    default(up, "stabilizationWindowSeconds", 0);
    default(up, "policies", json!([pods, percent]));
    default(up, "selectPolicy", "Max");
    let down = child(behavior, "scaleDown");
    default(down, "policies", json!([percent]));
    default(down, "selectPolicy", "Max");
}
