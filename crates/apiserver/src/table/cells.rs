//! The columns of the built-in kinds other than pods; headings and cells as `pkg/printers/internalversion` has them.

use serde_json::{Value, json};

use super::{Column, age};
use crate::json::{at, integer, items, text};

fn or_none(value: &str) -> Value {
    json!(if value.is_empty() { "<none>" } else { value })
}

fn count(object: &Value, field: &str) -> usize {
    match object.get(field) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

fn pairs(map: Option<&Value>) -> String {
    let Some(Value::Object(map)) = map else { return "<none>".into() };
    let pairs: Vec<String> =
        map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// Name and age, for kinds without columns of their own.
pub(crate) fn named() -> Vec<Column> {
    vec![Column::name(), Column::age()]
}

pub(crate) fn namespaces() -> Vec<Column> {
    vec![Column::name(), Column::computed("Status", |o, _| json!(text(o, "status.phase"))), Column::age()]
}

pub(crate) fn config_maps() -> Vec<Column> {
    let data = |o: &Value, _| json!(count(o, "data") + count(o, "binaryData"));
    vec![Column::name(), Column::computed("Data", data), Column::age()]
}

pub(crate) fn secrets() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Type", |o, _| json!(text(o, "type"))),
        Column::computed("Data", |o, _| json!(count(o, "data"))),
        Column::age(),
    ]
}

pub(crate) fn service_accounts() -> Vec<Column> {
    let secrets = |o: &Value, _| json!(count(o, "secrets").to_string());
    vec![Column::name(), Column::computed("Secrets", secrets), Column::age()]
}

pub(crate) fn leases() -> Vec<Column> {
    let holder = |o: &Value, _| json!(text(o, "spec.holderIdentity"));
    vec![Column::name(), Column::computed("Holder", holder), Column::age()]
}

pub(crate) fn webhooks() -> Vec<Column> {
    let mut hooks = Column::computed("Webhooks", |o, _| json!(count(o, "webhooks")));
    hooks.kind = "integer".into();
    hooks.description = "Webhooks indicates the number of webhooks registered in this configuration".into();
    vec![Column::name(), hooks, Column::age()]
}

pub(crate) fn crds() -> Vec<Column> {
    let created = |o: &Value, _| json!(text(o, "metadata.creationTimestamp"));
    vec![Column::name(), Column { kind: "date".into(), ..Column::computed("Created At", created) }]
}

pub(crate) fn nodes() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Status", |o, _| json!(node_status(o))),
        Column::computed("Roles", |o, _| or_none(&node_roles(o))),
        Column::age(),
        Column::computed("Version", |o, _| json!(text(o, "status.nodeInfo.kubeletVersion"))),
        Column::wide("Internal-IP", |o, _| or_none(node_address(o, "InternalIP"))),
        Column::wide("External-IP", |o, _| or_none(node_address(o, "ExternalIP"))),
        Column::wide("OS-Image", |o, _| unknown(text(o, "status.nodeInfo.osImage"))),
        Column::wide("Kernel-Version", |o, _| unknown(text(o, "status.nodeInfo.kernelVersion"))),
        Column::wide("Container-Runtime", |o, _| unknown(text(o, "status.nodeInfo.containerRuntimeVersion"))),
    ]
}

fn unknown(value: &str) -> Value {
    json!(if value.is_empty() { "<unknown>" } else { value })
}

fn node_status(node: &Value) -> String {
    let ready = items(node, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let status = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = at(node, "spec.unschedulable").is_some_and(|v| v == true);
    format!("{status}{}", if cordoned { ",SchedulingDisabled" } else { "" })
}

fn node_roles(node: &Value) -> String {
    let labels = at(node, "metadata.labels").and_then(Value::as_object);
    let names = labels.into_iter().flat_map(|map| map.keys());
    let roles: Vec<&str> = names.filter_map(|key| key.strip_prefix("node-role.kubernetes.io/")).collect();
    roles.join(",")
}

fn node_address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = items(node, "status.addresses").iter().find(|a| text(a, "type") == kind);
    found.map_or("", |a| text(a, "address"))
}

pub(crate) fn services() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Type", |o, _| json!(text(o, "spec.type"))),
        Column::computed("Cluster-IP", |o, _| or_none(text(o, "spec.clusterIP"))),
        Column::computed("External-IP", |o, _| or_none(&external_ips(o))),
        Column::computed("Port(s)", |o, _| or_none(&ports(o))),
        Column::age(),
        Column::wide("Selector", |o, _| json!(pairs(at(o, "spec.selector")))),
    ]
}

fn external_ips(service: &Value) -> String {
    if text(service, "spec.type") == "ExternalName" {
        return text(service, "spec.externalName").into();
    }
    let ips: Vec<&str> = items(service, "spec.externalIPs").iter().filter_map(Value::as_str).collect();
    ips.join(",")
}

fn ports(service: &Value) -> String {
    let port = |p: &Value| {
        let node = integer(p, "nodePort").map_or(String::new(), |n| format!(":{n}"));
        format!("{}{node}/{}", integer(p, "port").unwrap_or(0), text(p, "protocol"))
    };
    items(service, "spec.ports").iter().map(port).collect::<Vec<_>>().join(",")
}

pub(crate) fn events() -> Vec<Column> {
    vec![
        Column::computed("Last Seen", |o, now| json!(age::since(last_seen(o), now))),
        Column::computed("Type", |o, _| json!(text(o, "type"))),
        Column::computed("Reason", |o, _| json!(text(o, "reason"))),
        Column::computed("Object", |o, _| json!(involved(o))),
        Column::wide("Subobject", |o, _| json!(text(o, "involvedObject.fieldPath"))),
        Column::wide("Source", |o, _| json!(event_source(o))),
        Column::computed("Message", |o, _| json!(text(o, "message").trim())),
        Column::wide("First Seen", |o, now| json!(age::since(first_seen(o), now))),
        Column::wide("Count", |o, _| json!(integer(o, "count").unwrap_or(1))),
        Column { priority: 1, ..Column::name() },
    ]
}

fn involved(event: &Value) -> String {
    let (kind, name) = (text(event, "involvedObject.kind"), text(event, "involvedObject.name"));
    format!("{}/{name}", kind.to_lowercase())
}

fn first_of<'a>(event: &'a Value, paths: &[&str]) -> &'a str {
    paths.iter().map(|path| text(event, path)).find(|moment| !moment.is_empty()).unwrap_or_default()
}

fn last_seen(event: &Value) -> &str {
    first_of(event, &["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"])
}

fn first_seen(event: &Value) -> &str {
    first_of(event, &["firstTimestamp", "eventTime", "metadata.creationTimestamp"])
}

fn event_source(event: &Value) -> String {
    let component = first_of(event, &["source.component", "reportingComponent"]);
    let host = first_of(event, &["source.host", "reportingInstance"]);
    if host.is_empty() { component.into() } else { format!("{component}, {host}") }
}
