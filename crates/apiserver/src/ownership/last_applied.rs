//! Users of `kubectl apply` may switch to server-side apply: what the annotation of their last client-side apply names, and
//! nobody changed since, is theirs and no conflict.

use serde_json::Value;

use super::Write;
use super::collect::paths;
use super::compare::compare;
use super::conflict::Conflict;

/// The manager that kubectl applies as by default.
const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ANNOTATION].as_str().filter(|text| !text.is_empty())
}

/// The `conflicts` that the annotation does not explain.
pub(super) fn not_ours(live: &Value, conflicts: Vec<Conflict>, write: &Write<'_>) -> Vec<Conflict> {
    if write.manager != KUBECTL {
        return conflicts;
    }
    let Some(ours) = unchanged_since(live, write) else { return conflicts };
    conflicts.into_iter().filter(|conflict| !ours.has(&conflict.path)).collect()
}

fn unchanged_since(live: &Value, write: &Write<'_>) -> Option<super::Set> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last["apiVersion"] != write.version {
        return None;
    }
    let since = compare(&last, live, write.shape).ok()?;
    let changed = since.modified.union(&since.added).union(&since.removed);
    Some(paths(&last, write.shape).ok()?.difference(&changed))
}

/// `object` with its annotation, if it has one, brought to what `config` says.
pub(super) fn follow(mut object: Value, config: &Value, write: &Write<'_>) -> Value {
    if write.manager != KUBECTL || annotation(&object).is_none() {
        return object;
    }
    let mut last = config.clone();
    if let Some(annotations) = last.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    object["metadata"]["annotations"][ANNOTATION] = Value::String(format!("{last}\n"));
    object
}
