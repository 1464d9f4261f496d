//! What is said about a Deployment: counts and conditions, as `kubectl rollout status` and `kubectl wait` read them.

use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSet};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::action::{Action, Kind, Target};
use super::{Case, available, present, rollout};

/// A condition's content.
struct Said {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// Posts the status if it has changed.
pub fn post(case: &Case<'_>) -> Option<Action> {
    let counts = counts(case);
    let said = [available_condition(case), progressing(case, &counts)];
    let conditions: Vec<Value> = said.iter().map(|said| condition(case, said, &counts)).collect();
    let mut status = counts;
    status["observedGeneration"] = json!(case.deployment.metadata.generation);
    status["conditions"] = json!(conditions);
    let posted = case
        .deployment
        .status
        .as_ref()
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or_default();
    let differs =
        status.as_object()?.iter().any(|(key, value)| without_zero(&posted[key]) != without_zero(value));
    differs.then(|| Action::status(Target::of(Kind::Deployment, case.deployment), status))
}

fn without_zero(value: &Value) -> Value {
    if *value == 0 { Value::Null } else { value.clone() }
}

fn counts(case: &Case<'_>) -> Value {
    let sum = |count: fn(&ReplicaSet) -> i32| case.all().map(count).sum::<i32>();
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let (total, serving) = (sum(present), sum(available));
    json!({
        "replicas": total,
        "updatedReplicas": case.new.map_or(0, present),
        "readyReplicas": sum(ready),
        "availableReplicas": serving,
        "unavailableReplicas": (case.replicas().max(total) - serving).max(0),
    })
}

fn available_condition(case: &Case<'_>) -> Said {
    let serving: i32 = case.all().map(available).sum();
    if serving >= case.replicas() - rollout::Limits::of(case.spec).unavailable {
        let message = "Deployment has minimum availability.".to_owned();
        return Said { kind: "Available", status: "True", reason: "MinimumReplicasAvailable", message };
    }
    let message = "Deployment does not have minimum availability.".to_owned();
    Said { kind: "Available", status: "False", reason: "MinimumReplicasUnavailable", message }
}

fn progressing(case: &Case<'_>, counts: &Value) -> Said {
    let said = |status, reason, message| Said { kind: "Progressing", status, reason, message };
    let name = case.deployment.name_any();
    if case.spec.paused == Some(true) {
        return said("Unknown", "DeploymentPaused", "Deployment is paused".to_owned());
    }
    let Some(new) = case.new else {
        let message = format!("Created new replica set \"{name}-{}\"", case.hash);
        return said("True", "NewReplicaSetCreated", message);
    };
    if is_complete(case, counts) {
        let message = format!("ReplicaSet \"{}\" has successfully progressed.", new.name_any());
        return said("True", "NewReplicaSetAvailable", message);
    }
    if is_late(case, counts) {
        let message = format!("ReplicaSet \"{}\" has timed out progressing.", new.name_any());
        return said("False", "ProgressDeadlineExceeded", message);
    }
    said("True", "ReplicaSetUpdated", format!("ReplicaSet \"{}\" is progressing.", new.name_any()))
}

fn is_complete(case: &Case<'_>, counts: &Value) -> bool {
    let wanted = json!(case.replicas());
    ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|key| counts[*key] == wanted)
}

/// Whether nothing has moved for longer than the deadline.
fn is_late(case: &Case<'_>, counts: &Value) -> bool {
    let Some(known) = known(case, "Progressing") else { return false };
    if moved(case, counts) || known.reason.as_deref() == Some("NewReplicaSetAvailable") {
        return false;
    }
    let deadline = i64::from(case.spec.progress_deadline_seconds.unwrap_or(600));
    let since = known.last_update_time.as_ref().map(|time| time.0.as_second());
    since.is_some_and(|since| case.world.now.as_second() - since > deadline)
}

/// Whether the counts differ from those posted.
fn moved(case: &Case<'_>, counts: &Value) -> bool {
    let posted = case
        .deployment
        .status
        .as_ref()
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or_default();
    counts
        .as_object()
        .into_iter()
        .flatten()
        .any(|(key, value)| without_zero(&posted[key]) != without_zero(value))
}

fn known<'a>(case: &Case<'a>, kind: &str) -> Option<&'a DeploymentCondition> {
    case.deployment.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// A condition with its times: of the last change, and (for progress) of the last movement.
fn condition(case: &Case<'_>, said: &Said, counts: &Value) -> Value {
    let text = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let now = text(case.world.now);
    let known = known(case, said.kind);
    let same_status = known.filter(|known| known.status == said.status);
    let same = same_status.filter(|known| {
        known.reason.as_deref() == Some(said.reason) && known.message.as_deref() == Some(&said.message)
    });
    let transition = same_status
        .and_then(|known| known.last_transition_time.as_ref())
        .map_or_else(|| now.clone(), |time| text(time.0));
    let restless = said.kind == "Progressing" && said.reason == "ReplicaSetUpdated" && moved(case, counts);
    let updated = same.filter(|_| !restless).and_then(|known| known.last_update_time.as_ref());
    json!({
        "type": said.kind, "status": said.status, "reason": said.reason, "message": said.message,
        "lastTransitionTime": transition, "lastUpdateTime": updated.map_or(now, |time| text(time.0)),
    })
}
