//! What a namespace that is on its way out still waits for, as its conditions tell. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::json::{child, items, text};
use crate::resource::Resource;
use crate::strategy::moment;

/// What is left of each kind.
pub(super) type Remaining = [(Arc<Resource>, Vec<Value>)];

/// Sets the conditions of `namespace`; a condition that does not change keeps its time.
pub(super) fn explain(namespace: &mut Value, remaining: &Remaining, now: Timestamp) {
    let (kinds, finalizers) = (kinds_left(remaining), finalizers_left(remaining));
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            ok("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ok("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            ok("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            match kinds.as_str() {
                "" => ok("ContentRemoved", "All content successfully removed"),
                kinds => waiting("SomeResourcesRemain", format!("Some resources are remaining: {kinds}")),
            },
        ),
        (
            "NamespaceFinalizersRemaining",
            match finalizers.as_str() {
                "" => ok("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
                left => waiting(
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {left}"),
                ),
            },
        ),
    ];
    let before = items(namespace, "status.conditions").to_vec();
    let conditions = rows.map(|(kind, state)| condition(kind, state, &before, now));
    child(namespace, "status")["conditions"] = json!(conditions);
}

/// Status, reason, message.
type State = (&'static str, &'static str, String);

fn ok(reason: &'static str, message: &str) -> State {
    ("False", reason, message.into())
}

fn waiting(reason: &'static str, message: String) -> State {
    ("True", reason, message)
}

fn condition(kind: &str, (status, reason, message): State, before: &[Value], now: Timestamp) -> Value {
    let old = before.iter().find(|old| text(old, "type") == kind && text(old, "status") == status);
    let since = old.map_or_else(|| moment(now), |old| old["lastTransitionTime"].clone());
    json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
}

fn kinds_left(remaining: &Remaining) -> String {
    let left = remaining.iter().filter(|(_, objects)| !objects.is_empty());
    let mut rows: Vec<String> = left
        .map(|(resource, objects)| {
            format!("{}.{} has {} resource instances", resource.plural, resource.group, objects.len())
        })
        .collect();
    rows.sort_unstable();
    rows.join(", ")
}

fn finalizers_left(remaining: &Remaining) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let objects = remaining.iter().flat_map(|(_, objects)| objects);
    for finalizer in objects.flat_map(|object| items(object, "metadata.finalizers")).filter_map(Value::as_str)
    {
        *counts.entry(finalizer).or_default() += 1;
    }
    let rows = counts.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
    rows.collect::<Vec<_>>().join(", ")
}
