//! The columns of kinds that clusters have besides pods, their controllers and services; headings and cells as
//! `pkg/printers/internalversion` has them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workloads::{containers, number, selector};
use super::{Column, age};
use crate::json::{at, items, text};

pub(crate) fn jobs() -> Vec<Column> {
    let mut columns = vec![
        Column::name(),
        Column::computed("Status", |o, _| json!(job_status(o))),
        Column::computed("Completions", |o, _| json!(completions(o))),
        Column::computed("Duration", |o, now| json!(duration(o, now))),
        Column::age(),
    ];
    columns.extend(containers());
    columns.push(selector());
    columns
}

pub(crate) fn ingresses() -> Vec<Column> {
    let port = |o: &Value, _| json!(if items(o, "spec.tls").is_empty() { "80" } else { "80, 443" });
    vec![
        Column::name(),
        Column::computed("Class", |o, _| json!(or(text(o, "spec.ingressClassName"), "<none>"))),
        Column::computed("Hosts", |o, _| json!(hosts(o))),
        Column::computed("Address", |o, _| json!(addresses(o))),
        Column::computed("Ports", port),
        Column::age(),
    ]
}

pub(crate) fn claims() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Status", |o, _| json!(phase(o))),
        Column::computed("Volume", |o, _| json!(text(o, "spec.volumeName"))),
        Column::computed("Capacity", |o, _| json!(of_bound(o, text(o, "status.capacity.storage")))),
        Column::computed("Access Modes", |o, _| json!(of_bound(o, &modes(items(o, "status.accessModes"))))),
        Column::computed("StorageClass", |o, _| json!(text(o, "spec.storageClassName"))),
        attributes_class(),
        Column::age(),
        volume_mode(),
    ]
}

pub(crate) fn volumes() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Capacity", |o, _| json!(or(text(o, "spec.capacity.storage"), "0"))),
        Column::computed("Access Modes", |o, _| json!(modes(items(o, "spec.accessModes")))),
        Column::computed("Reclaim Policy", |o, _| json!(text(o, "spec.persistentVolumeReclaimPolicy"))),
        Column::computed("Status", |o, _| json!(phase(o))),
        Column::computed("Claim", |o, _| json!(claim_of(o))),
        Column::computed("StorageClass", |o, _| json!(text(o, "spec.storageClassName"))),
        attributes_class(),
        Column::computed("Reason", |o, _| json!(text(o, "status.reason"))),
        Column::age(),
        volume_mode(),
    ]
}

pub(crate) fn disruption_budgets() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Min Available", |o, _| json!(share(at(o, "spec.minAvailable")))),
        Column::computed("Max Unavailable", |o, _| json!(share(at(o, "spec.maxUnavailable")))),
        Column::integer("Allowed Disruptions", |o, _| json!(number(o, "status.disruptionsAllowed"))),
        Column::age(),
    ]
}

pub(crate) fn priority_classes() -> Vec<Column> {
    let default = |o: &Value, _| json!(o["globalDefault"].as_bool().unwrap_or(false));
    vec![
        Column::name(),
        Column::integer("Value", |o, _| json!(number(o, "value"))),
        Column { kind: "boolean".into(), ..Column::computed("Global-Default", default) },
        Column::age(),
        Column::computed("PreemptionPolicy", |o, _| json!(text(o, "preemptionPolicy"))),
    ]
}

pub(crate) fn service_cidrs() -> Vec<Column> {
    let cidrs = |o: &Value, _| json!(joined(items(o, "spec.cidrs")));
    vec![Column::name(), Column::computed("CIDRs", cidrs), Column::age()]
}

pub(crate) fn resource_claims() -> Vec<Column> {
    vec![Column::name(), Column::computed("State", |o, _| json!(claim_state(o))), Column::age()]
}

pub(crate) fn endpoints() -> Vec<Column> {
    vec![Column::name(), Column::computed("Endpoints", |o, _| json!(endpoint_list(o))), Column::age()]
}

pub(crate) fn revisions() -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("Controller", |o, _| json!(controller(o))),
        Column::computed("Revision", |o, _| json!(number(o, "revision"))),
        Column::age(),
    ]
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// What is shown of a claim once it has a volume.
fn of_bound(claim: &Value, shown: &str) -> String {
    if text(claim, "spec.volumeName").is_empty() { String::new() } else { shown.to_owned() }
}

fn joined(list: &[Value]) -> String {
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn job_status(job: &Value) -> &'static str {
    let conditions = items(job, "status.conditions");
    let holds =
        |kind: &str| conditions.iter().any(|c| text(c, "type") == kind && text(c, "status") == "True");
    let ending = at(job, "metadata.deletionTimestamp").is_some();
    let cases = [
        (holds("Complete"), "Complete"),
        (holds("Failed"), "Failed"),
        (ending, "Terminating"),
        (holds("Suspended"), "Suspended"),
        (holds("FailureTarget"), "FailureTarget"),
        (holds("SuccessCriteriaMet"), "SuccessCriteriaMet"),
    ];
    cases.iter().find(|(holds, _)| *holds).map_or("Running", |(_, word)| word)
}

fn completions(job: &Value) -> String {
    let (done, parallel) = (number(job, "status.succeeded"), number(job, "spec.parallelism"));
    match at(job, "spec.completions") {
        Some(wanted) => format!("{done}/{wanted}"),
        None if parallel > 1 => format!("{done}/1 of {parallel}"),
        None => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let (start, end) = (text(job, "status.startTime"), text(job, "status.completionTime"));
    if start.is_empty() { String::new() } else { age::since(start, end.parse().unwrap_or(now)) }
}

fn hosts(ingress: &Value) -> String {
    let rules = items(ingress, "spec.rules");
    let named: Vec<&str> =
        rules.iter().map(|rule| text(rule, "host")).filter(|host| !host.is_empty()).collect();
    match named.get(..3) {
        _ if named.is_empty() => "*".into(),
        Some(first) if named.len() > 3 => format!("{} + {} more...", first.join(","), rules.len() - 3),
        _ => named.join(","),
    }
}

fn addresses(ingress: &Value) -> String {
    let points = items(ingress, "status.loadBalancer.ingress").iter();
    let mut all: Vec<&str> = points.map(|point| or(text(point, "ip"), text(point, "hostname"))).collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

fn phase(object: &Value) -> &str {
    let ending = at(object, "metadata.deletionTimestamp").is_some();
    if ending { "Terminating" } else { text(object, "status.phase") }
}

fn modes(modes: &[Value]) -> String {
    let names = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let known = names.iter().filter(|(name, _)| modes.iter().any(|mode| mode == name));
    known.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn claim_of(volume: &Value) -> String {
    match at(volume, "spec.claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        None => String::new(),
    }
}

fn attributes_class() -> Column {
    let class = |o: &Value, _| json!(or(text(o, "spec.volumeAttributesClassName"), "<unset>"));
    Column::computed("VolumeAttributesClass", class)
}

fn volume_mode() -> Column {
    Column::wide("VolumeMode", |o, _| json!(or(text(o, "spec.volumeMode"), "<unset>")))
}

/// A number or a percentage.
fn share(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "N/A".into(),
        Some(Value::String(share)) => share.clone(),
        Some(number) => number.to_string(),
    }
}

fn claim_state(claim: &Value) -> String {
    let ending = at(claim, "metadata.deletionTimestamp").is_some();
    let allocated = at(claim, "status.allocation").is_some();
    let reserved = allocated && !items(claim, "status.reservedFor").is_empty();
    let states = [
        (ending, "deleted"),
        (!allocated && !ending, "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    states.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

/// Three of them, and how many there are besides.
fn endpoint_list(endpoints: &Value) -> String {
    let all: Vec<String> = items(endpoints, "subsets").iter().flat_map(subset).collect();
    match all.get(..3) {
        _ if items(endpoints, "subsets").is_empty() => "<none>".into(),
        Some(first) if all.len() > 3 => format!("{} + {} more...", first.join(","), all.len() - 3),
        _ => all.join(","),
    }
}

fn subset(subset: &Value) -> Vec<String> {
    let addresses = || items(subset, "addresses").iter().map(|address| text(address, "ip"));
    let ports = items(subset, "ports");
    if ports.is_empty() {
        return addresses().map(str::to_owned).collect();
    }
    let with_port = |port: i64| {
        addresses()
            .map(move |ip| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
    };
    ports.iter().flat_map(|port| with_port(number(port, "port"))).collect()
}

fn controller(revision: &Value) -> String {
    let owners = items(revision, "metadata.ownerReferences");
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return "<none>".into() };
    let kind = text(owner, "kind").to_lowercase();
    match text(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "name")),
        None => format!("{kind}/{}", text(owner, "name")),
    }
}
