//! The columns of pods. STATUS is the most telling of phase, reasons and container states, in the order kubectl users know.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Column, age};
use crate::json::{at, integer, items, text};

pub(crate) fn pods() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Ready", |o, _| json!(ready(o))),
        Column::computed("Status", |o, _| json!(status(o))),
        Column::computed("Restarts", |o, now| json!(restarts(o, now))),
        Column::age(),
        Column::wide("IP", |o, _| or_none(pod_ip(o))),
        Column::wide("Node", |o, _| or_none(text(o, "spec.nodeName"))),
        Column::wide("Nominated Node", |o, _| or_none(text(o, "status.nominatedNodeName"))),
        Column::wide("Readiness Gates", |o, _| json!(gates(o))),
    ]
}

fn or_none(value: &str) -> Value {
    json!(if value.is_empty() { "<none>" } else { value })
}

fn pod_ip(pod: &Value) -> &str {
    let first = items(pod, "status.podIPs").first().map_or("", |ip| text(ip, "ip"));
    if first.is_empty() { text(pod, "status.podIP") } else { first }
}

fn ready(pod: &Value) -> String {
    let is_ready = |c: &&Value| c["ready"] == true && !c["state"]["running"].is_null();
    let ready = items(pod, "status.containerStatuses").iter().filter(is_ready).count();
    format!("{ready}/{}", items(pod, "spec.containers").len())
}

fn status(pod: &Value) -> String {
    if at(pod, "metadata.deletionTimestamp").is_some() {
        return if text(pod, "status.reason") == "NodeLost" { "Unknown" } else { "Terminating" }.into();
    }
    if let Some(reason) = waiting_init(pod) {
        return reason;
    }
    let base = [text(pod, "status.reason"), gated(pod), text(pod, "status.phase")];
    let base = base.into_iter().find(|s| !s.is_empty()).unwrap_or("Unknown").to_owned();
    let reason = items(pod, "status.containerStatuses").iter().filter_map(container_reason).next();
    match reason {
        Some(reason) if reason == "Completed" && any_running(pod) => running_or_not_ready(pod).into(),
        Some(reason) => reason,
        None => base,
    }
}

fn gated(pod: &Value) -> &str {
    let conditions = items(pod, "status.conditions").iter().rev();
    let mut scheduled = conditions.filter(|c| text(c, "type") == "PodScheduled").map(|c| text(c, "reason"));
    scheduled.next().filter(|reason| *reason == "SchedulingGated").unwrap_or_default()
}

fn any_running(pod: &Value) -> bool {
    let running = |c: &Value| c["ready"] == true && !c["state"]["running"].is_null();
    items(pod, "status.containerStatuses").iter().any(running)
}

fn running_or_not_ready(pod: &Value) -> &'static str {
    let ready = |c: &Value| text(c, "type") == "Ready" && text(c, "status") == "True";
    if items(pod, "status.conditions").iter().any(ready) { "Running" } else { "NotReady" }
}

/// Why a container does not run, if it does not.
fn container_reason(status: &Value) -> Option<String> {
    let waiting = text(status, "state.waiting.reason");
    if !waiting.is_empty() {
        return Some(waiting.into());
    }
    termination(at(status, "state.terminated")?)
}

fn termination(terminated: &Value) -> Option<String> {
    let reason = text(terminated, "reason");
    if !reason.is_empty() {
        return Some(reason.into());
    }
    match integer(terminated, "signal").unwrap_or(0) {
        0 => Some(format!("ExitCode:{}", integer(terminated, "exitCode").unwrap_or(0))),
        signal => Some(format!("Signal:{signal}")),
    }
}

/// `Init:...` while the init containers are not done.
fn waiting_init(pod: &Value) -> Option<String> {
    let statuses = items(pod, "status.initContainerStatuses");
    let done = |s: &Value| integer(s, "state.terminated.exitCode") == Some(0) || s["started"] == true;
    let at = statuses.iter().position(|s| !done(s))?;
    let reason = match container_reason(&statuses[at]) {
        Some(reason) if reason != "PodInitializing" => reason,
        _ => format!("{at}/{}", items(pod, "spec.initContainers").len()),
    };
    Some(format!("Init:{reason}"))
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let statuses = items(pod, "status.containerStatuses");
    let total: i64 = statuses.iter().filter_map(|s| integer(s, "restartCount")).sum();
    let last = statuses.iter().map(|s| text(s, "lastState.terminated.finishedAt")).max().unwrap_or_default();
    if total == 0 || last.is_empty() {
        return total.to_string();
    }
    format!("{total} ({} ago)", age::since(last, now))
}

fn gates(pod: &Value) -> String {
    let gates = items(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let holds = |gate: &&Value| {
        let wanted = text(gate, "conditionType");
        let fits = |c: &Value| text(c, "type") == wanted && text(c, "status") == "True";
        items(pod, "status.conditions").iter().any(fits)
    };
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}
