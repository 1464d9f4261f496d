//! `metadata`, the part that all objects share: its shape, its rules, and what only the server may write. Pure.

mod kind;
mod owners;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::json::{at, carry, child, items, text};
use crate::resource::Resource;
use crate::status::{Cause, Status};
use crate::strategy::{fields, moment};

/// Bytes that all annotations of an object may have together.
const ANNOTATION_BYTES: usize = 256 << 10;
/// Fields of metadata that clients cannot change.
const SERVER_OWNED: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Checks that `object` is of this kind (filling in what the path already says) and that metadata has its types.
pub(crate) fn check_shape(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let Some(map) = object.as_object_mut() else {
        return Err(Status::bad_request("the body of the request must be a JSON object"));
    };
    kind::check(resource, map)?;
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Status::bad_request("metadata must be an object"));
    };
    metadata.retain(|_, value| !value.is_null());
    metadata.remove("selfLink");
    metadata.iter().try_for_each(|(key, value)| check_field(key, value))
}

fn check_field(key: &str, value: &Value) -> Result<(), Status> {
    let fits = match key {
        "labels" | "annotations" => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        "finalizers" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        "ownerReferences" | "managedFields" => {
            value.as_array().is_some_and(|list| list.iter().all(Value::is_object))
        }
        "generation" | "deletionGracePeriodSeconds" => value.is_i64(),
        _ => value.is_string(),
    };
    if fits { Ok(()) } else { Err(Status::bad_request(format!("metadata.{key} has the wrong type"))) }
}

/// Gives a new object what only the server may write.
pub(crate) fn begin(resource: &Resource, object: &mut Value, uid: String, now: Timestamp) {
    let metadata = child(object, "metadata");
    for key in SERVER_OWNED.iter().skip(2).chain(&["resourceVersion"]) {
        carry(key, &Value::Null, metadata);
    }
    metadata["uid"] = json!(uid);
    metadata["creationTimestamp"] = moment(now);
    if resource.generation {
        metadata["generation"] = json!(1);
    }
}

/// Puts what only the server may write back to what it is in `old`.
pub(crate) fn keep_server_owned(new: &mut Value, old: &Value) {
    let metadata = child(new, "metadata");
    for key in SERVER_OWNED {
        carry(key, &old["metadata"], metadata);
    }
}

/// What is wrong with the metadata of `object`.
pub(crate) fn validate(resource: &Resource, object: &Value) -> Vec<Cause> {
    let name = text(object, "metadata.name");
    let mut causes = Vec::new();
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if let Some(complaint) = resource.strategy.name_rule().complaint(name) {
        causes.push(Cause::invalid("metadata.name", name, &complaint));
    }
    causes.extend(fields::labels("metadata.labels", at(object, "metadata.labels")));
    causes.extend(annotations(object));
    causes.extend(owners::causes(object));
    causes.extend(finalizers(resource, object));
    causes
}

fn map<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = at(object, path).and_then(Value::as_object);
    entries.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn annotations(object: &Value) -> Vec<Cause> {
    let wrong = |(key, _): (&String, &str)| {
        let complaint = fields::qualified(&key.to_lowercase())?;
        Some(Cause::invalid("metadata.annotations", key, &complaint))
    };
    let mut causes: Vec<Cause> = map(object, "metadata.annotations").filter_map(wrong).collect();
    let size: usize = map(object, "metadata.annotations").map(|(key, value)| key.len() + value.len()).sum();
    if size > ANNOTATION_BYTES {
        let message = format!("Too long: may not be more than {ANNOTATION_BYTES} bytes");
        causes.push(Cause { field: "metadata.annotations".into(), reason: "FieldValueTooLong", message });
    }
    causes
}

fn finalizers(resource: &Resource, object: &Value) -> Vec<Cause> {
    let names = items(object, "metadata.finalizers").iter().filter_map(Value::as_str).enumerate();
    let wrong = |(f, name): (usize, &str)| {
        let field = format!("metadata.finalizers[{f}]");
        if let Some(complaint) = fields::qualified(name) {
            return Some(Cause::invalid("metadata.finalizers", name, &complaint));
        }
        let unqualified = !resource.custom
            && !name.contains('/')
            && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name);
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        unqualified.then(|| Cause::invalid(field, name, detail))
    };
    names.filter_map(wrong).collect()
}

/// Finalizers may only go once deletion has begun. The real server finds this twice, and lists it twice.
pub(crate) fn validate_finalizers(new: &Value, old: &Value) -> Vec<Cause> {
    let before = items(old, "metadata.finalizers");
    let added = items(new, "metadata.finalizers").iter().filter(|f| !before.contains(f));
    let mut added: Vec<String> = added.map(Value::to_string).collect();
    added.sort_unstable();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    if !is_ending(old) || added.is_empty() {
        return Vec::new();
    }
    vec![Cause::forbidden("metadata.finalizers", &detail); 2]
}

/// True if deletion has begun.
pub(crate) fn is_ending(object: &Value) -> bool {
    at(object, "metadata.deletionTimestamp").is_some()
}

/// True if deletion has begun and nothing holds it up any more.
pub(crate) fn has_ended(object: &Value) -> bool {
    let grace = at(object, "metadata.deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    is_ending(object) && grace == 0 && items(object, "metadata.finalizers").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn shape(mut object: Value) -> Result<Value, Status> {
        let kinds = Registry::default().snapshot();
        check_shape(kinds.find("", "v1", "pods").unwrap(), &mut object).map(|()| object)
    }

    #[test]
    fn kind_and_version_are_filled_in_and_checked() {
        let object = shape(json!({"metadata": {"labels": null}})).unwrap();
        assert_eq!(object, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}));
        assert!(shape(json!({"kind": "Node"})).unwrap_err().message.contains("unknown conversion"));
    }

    #[test]
    fn metadata_of_wrong_types_is_refused() {
        for metadata in
            [json!([]), json!({"labels": {"a": 1}}), json!({"finalizers": "x"}), json!({"name": 5})]
        {
            assert_eq!(shape(json!({"metadata": metadata})).unwrap_err().code, 400);
        }
        assert_eq!(shape(json!([])).unwrap_err().code, 400);
    }

    #[test]
    fn wrong_labels_and_oversize_annotations_are_named() {
        let kinds = Registry::default().snapshot();
        let pods = kinds.find("", "v1", "pods").unwrap();
        let big = "x".repeat(ANNOTATION_BYTES);
        let object =
            json!({"metadata": {"name": "a", "labels": {"-": "x"}, "annotations": {"k8s.io/a": big}}});
        let fields: Vec<String> = validate(pods, &object).into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["metadata.labels", "metadata.annotations"]);
    }

    #[test]
    fn an_object_has_ended_when_grace_and_finalizers_are_gone() {
        let ended = |metadata: Value| has_ended(&json!({"metadata": metadata}));
        assert!(!ended(json!({})));
        assert!(ended(json!({"deletionTimestamp": "x", "deletionGracePeriodSeconds": 0})));
        assert!(!ended(json!({"deletionTimestamp": "x", "deletionGracePeriodSeconds": 30})));
        assert!(!ended(json!({"deletionTimestamp": "x", "finalizers": ["a"]})));
    }
}
