//! The columns of controllers of pods and of what goes with them; headings and cells as `pkg/printers/internalversion` has
//! them.

use serde_json::{Value, json};

use super::Column;
use crate::json::{at, integer, items, text};

pub(crate) fn deployments() -> Vec<Column> {
    let mut columns = vec![
        Column::name(),
        Column::computed("Ready", |o, _| json!(ready_of_wanted(o))),
        Column::computed("Up-to-date", |o, _| json!(number(o, "status.updatedReplicas"))),
        Column::computed("Available", |o, _| json!(number(o, "status.availableReplicas"))),
        Column::age(),
    ];
    columns.extend(containers());
    columns.push(selector());
    columns
}

pub(crate) fn replica_sets() -> Vec<Column> {
    let mut columns = vec![
        Column::name(),
        Column::integer("Desired", |o, _| json!(number(o, "spec.replicas"))),
        Column::integer("Current", |o, _| json!(number(o, "status.replicas"))),
        Column::integer("Ready", |o, _| json!(number(o, "status.readyReplicas"))),
        Column::age(),
    ];
    columns.extend(containers());
    columns.push(selector());
    columns
}

pub(crate) fn stateful_sets() -> Vec<Column> {
    let ready = Column::computed("Ready", |o, _| json!(ready_of_wanted(o)));
    let mut columns = vec![Column::name(), ready, Column::age()];
    columns.extend(containers());
    columns
}

pub(crate) fn daemon_sets() -> Vec<Column> {
    let nodes = |o: &Value, _| json!(label_pairs(at(o, "spec.template.spec.nodeSelector")));
    let mut columns = vec![
        Column::name(),
        Column::integer("Desired", |o, _| json!(number(o, "status.desiredNumberScheduled"))),
        Column::integer("Current", |o, _| json!(number(o, "status.currentNumberScheduled"))),
        Column::integer("Ready", |o, _| json!(number(o, "status.numberReady"))),
        Column::integer("Up-to-date", |o, _| json!(number(o, "status.updatedNumberScheduled"))),
        Column::integer("Available", |o, _| json!(number(o, "status.numberAvailable"))),
        Column::computed("Node Selector", nodes),
        Column::age(),
    ];
    columns.extend(containers());
    columns.push(selector());
    columns
}

pub(crate) fn endpoint_slices() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("AddressType", |o, _| json!(text(o, "addressType"))),
        Column::computed("Ports", |o, _| json!(slice_ports(o))),
        Column::computed("Endpoints", |o, _| json!(slice_addresses(o))),
        Column::age(),
    ]
}

pub(crate) fn network_policies() -> Vec<Column> {
    let pods = |o: &Value, _| json!(label_selector(at(o, "spec.podSelector")));
    vec![Column::name(), Column::computed("Pod-Selector", pods), Column::age()]
}

pub(crate) fn roles() -> Vec<Column> {
    let created = |o: &Value, _| json!(text(o, "metadata.creationTimestamp"));
    vec![Column::name(), Column { kind: "date".into(), ..Column::computed("Created At", created) }]
}

pub(crate) fn bindings() -> Vec<Column> {
    let role = |o: &Value, _| json!(format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name")));
    vec![
        Column::name(),
        Column::computed("Role", role),
        Column::age(),
        Column::wide("Users", |o, _| json!(subjects(o, "User"))),
        Column::wide("Groups", |o, _| json!(subjects(o, "Group"))),
        Column::wide("ServiceAccounts", |o, _| json!(subjects(o, "ServiceAccount"))),
    ]
}

pub(super) fn number(object: &Value, path: &str) -> i64 {
    integer(object, path).unwrap_or(0)
}

fn ready_of_wanted(object: &Value) -> String {
    format!("{}/{}", number(object, "status.readyReplicas"), number(object, "spec.replicas"))
}

pub(super) fn containers() -> [Column; 2] {
    [
        Column::wide("Containers", |o, _| json!(of_containers(o, "name"))),
        Column::wide("Images", |o, _| json!(of_containers(o, "image"))),
    ]
}

fn of_containers(object: &Value, field: &str) -> String {
    let containers = items(object, "spec.template.spec.containers").iter();
    containers.map(|container| text(container, field)).collect::<Vec<_>>().join(",")
}

pub(super) fn selector() -> Column {
    Column::wide("Selector", |o, _| json!(label_selector(at(o, "spec.selector"))))
}

/// A map of labels in the order of their keys, `<none>` if there is none.
fn label_pairs(map: Option<&Value>) -> String {
    let pairs = requirements_of_labels(map);
    if pairs.is_empty() {
        "<none>".into()
    } else {
        pairs.into_iter().map(|(_, s)| s).collect::<Vec<_>>().join(",")
    }
}

fn requirements_of_labels(map: Option<&Value>) -> Vec<(&str, String)> {
    let labels = map.and_then(Value::as_object).into_iter().flatten();
    let mut pairs: Vec<_> =
        labels.map(|(k, v)| (k.as_str(), format!("{k}={}", v.as_str().unwrap_or_default()))).collect();
    pairs.sort_unstable();
    pairs
}

/// A selector as the `labelSelector` parameter writes it: its requirements in the order of their keys.
fn label_selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return "<none>".into() };
    let mut parts = requirements_of_labels(selector.get("matchLabels"));
    parts.extend(items(selector, "matchExpressions").iter().map(|e| (text(e, "key"), expression(e))));
    parts.sort_by_key(|(key, _)| *key);
    if parts.is_empty() {
        return "<none>".into();
    }
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

fn expression(expression: &Value) -> String {
    let key = text(expression, "key");
    let mut values: Vec<&str> = items(expression, "values").iter().filter_map(Value::as_str).collect();
    values.sort_unstable();
    let values = values.join(",");
    match text(expression, "operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}

/// The first few, and how many more there are.
fn few(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => "<unset>".into(),
        1..=SHOWN => shown,
        count => format!("{shown} + {} more...", count - SHOWN),
    }
}

fn slice_ports(slice: &Value) -> String {
    let port = |p: &Value| integer(p, "port").map_or_else(|| "*".into(), |n| n.to_string());
    few(&items(slice, "ports").iter().map(port).collect::<Vec<_>>())
}

fn slice_addresses(slice: &Value) -> String {
    let endpoints = items(slice, "endpoints").iter().flat_map(|e| items(e, "addresses"));
    few(&endpoints.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
}

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = items(binding, "subjects").iter().filter(|s| text(s, "kind") == kind);
    let name = |s: &Value| match text(s, "namespace") {
        "" => text(s, "name").to_owned(),
        namespace => format!("{namespace}/{}", text(s, "name")),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ")
}
