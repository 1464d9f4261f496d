//! Objects for the tests of controllers: the least that is needed, with anything laid over it.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::action::{Action, Kind};
use super::snapshot::Snapshot;

/// `base` with `over` laid over it as a merge patch would.
pub fn merged(mut base: Value, over: Value) -> Value {
    fn merge(base: &mut Value, over: Value) {
        match over {
            Value::Object(map) if base.is_object() => {
                for (key, value) in map {
                    merge(&mut base[&key], value);
                }
            }
            other => *base = other,
        }
    }
    merge(&mut base, over);
    base
}

pub fn object<K: DeserializeOwned>(base: Value, over: Value) -> K {
    serde_json::from_value(merged(base, over)).unwrap()
}

/// A pod of namespace `n` whose uid is its name.
pub fn pod(name: &str, over: Value) -> Pod {
    let meta = json!({"name": name, "namespace": "n", "uid": name});
    object(json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Pending"}}), over)
}

/// What makes a pod run and be ready.
pub fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]})
}

/// The reference of an owner `kind`/`uid`, whose name is its uid.
pub fn owned_by(kind: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": uid, "uid": uid, "controller": true}])
}

/// A ready node.
pub fn node(name: &str, over: Value) -> Node {
    let meta = json!({"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}});
    object(
        json!({"metadata": meta, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        over,
    )
}

/// An empty cluster at second `now`.
pub fn world(now: i64) -> Snapshot {
    Snapshot::empty(Timestamp::from_second(now).unwrap())
}

/// The actions in short: `create Pod x`, `delete Pod x`, `patch Pod x {...}`, `status Pod x {...}`, `bind x y`.
pub fn told(actions: &[Action]) -> Vec<String> {
    let named = |kind: Kind, name: &str| format!("{kind:?} {name}");
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Create { kind, object, .. } => {
                let meta = &object["metadata"];
                let name = meta["name"].as_str().or(meta["generateName"].as_str()).unwrap_or_default();
                Some(format!("create {}", named(*kind, name)))
            }
            Action::Patch { target, part: super::action::Part::Main, patch } => {
                Some(format!("patch {} {patch}", named(target.kind, &target.name)))
            }
            Action::Delete { target, .. } => Some(format!("delete {}", named(target.kind, &target.name))),
            Action::Bind { pod, node } => Some(format!("bind {} {node}", pod.name)),
            Action::Patch { .. } | Action::Tell(_) => None,
        })
        .collect()
}

/// The status that is posted for an object, if one is.
pub fn status_of(actions: &[Action], name: &str) -> Option<Value> {
    actions.iter().find_map(|action| match action {
        Action::Patch { target, part: super::action::Part::Status, patch } if target.name == name => {
            Some(patch["status"].clone())
        }
        _ => None,
    })
}
