//! Ownership and selection: the part of metadata that all controllers share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::Resource;
use serde_json::{Value, json};

use super::action::{Action, Kind, Target};

/// Labels, or annotations.
pub type Map = BTreeMap<String, String>;

/// The one owner that manages an object.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether `owner` manages `object`.
pub fn is_controlled_by<K: Resource, O: Resource>(object: &K, owner: &O) -> bool {
    controller_of(object).is_some_and(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

/// Whether an object's deletion has begun.
pub fn is_ending<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The reference by which an object names `owner` as its manager.
pub fn reference<O: Resource>(kind: Kind, owner: &O) -> Value {
    let resource = kind.resource();
    json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "name": owner.meta().name, "uid": owner.meta().uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Whether two objects live in the same namespace.
pub fn same_namespace<A: Resource, B: Resource>(a: &A, b: &B) -> bool {
    a.meta().namespace == b.meta().namespace
}

/// Whether labels are what a selector selects. An empty selector selects everything.
pub fn selects(selector: &LabelSelector, labels: Option<&Map>) -> bool {
    let value = |key: &str| labels.and_then(|all| all.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    let fits = selector.match_expressions.iter().flatten().all(|wanted| {
        let values = wanted.values.as_deref().unwrap_or_default();
        requirement(value(&wanted.key), &wanted.operator, values)
    });
    equal && fits
}

/// One requirement of a selector, about the value that the key has.
pub fn requirement(found: Option<&String>, operator: &str, values: &[String]) -> bool {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    match operator {
        "In" => found.is_some_and(|value| values.contains(value)),
        "NotIn" => found.is_none_or(|value| !values.contains(value)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number(found).zip(number(values.first())).is_some_and(|(found, bound)| found > bound),
        "Lt" => number(found).zip(number(values.first())).is_some_and(|(found, bound)| found < bound),
        _ => false,
    }
}

/// The objects that `owner` manages, after taking on those that its selector selects and nobody manages, and letting go those that it does
/// not select any more.
pub fn claim<'a, K: Resource, O: Resource>(
    (own_kind, owner): (Kind, &O),
    (kind, all): (Kind, &'a [K]),
    selector: &LabelSelector,
) -> (Vec<&'a K>, Vec<Action>) {
    let (mut claimed, mut actions) = (Vec::new(), Vec::new());
    for object in all.iter().filter(|object| same_namespace(*object, owner)) {
        let selected = selects(selector, object.meta().labels.as_ref());
        let owned = is_controlled_by(object, owner);
        if owned && !selected && !is_ending(object) {
            actions.push(release(kind, object, owner));
        } else if owned {
            claimed.push(object);
        } else if selected && controller_of(object).is_none() && !is_ending(object) && !is_ending(owner) {
            actions.push(adopt(kind, object, reference(own_kind, owner)));
            claimed.push(object);
        }
    }
    (claimed, actions)
}

fn references<K: Resource>(object: &K) -> Vec<Value> {
    let all = object.meta().owner_references.iter().flatten();
    all.filter_map(|reference| serde_json::to_value(reference).ok()).collect()
}

fn adopt<K: Resource>(kind: Kind, object: &K, reference: Value) -> Action {
    let mut all = references(object);
    all.push(reference);
    Action::patch(Target::of(kind, object), json!({"metadata": {"ownerReferences": all}}))
}

fn release<K: Resource, O: Resource>(kind: Kind, object: &K, owner: &O) -> Action {
    let mut all = references(object);
    all.retain(|reference| reference["uid"].as_str() != owner.meta().uid.as_deref());
    Action::patch(Target::of(kind, object), json!({"metadata": {"ownerReferences": all}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::api::core::v1::Pod;

    fn selector(value: Value) -> LabelSelector {
        serde_json::from_value(value).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Map {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn selectors_are_labels_and_expressions_together() {
        let wanted = selector(json!({
            "matchLabels": {"app": "a"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x", "y"]}, {"key": "old", "operator": "DoesNotExist"}],
        }));
        assert!(selects(&wanted, Some(&labels(&[("app", "a"), ("tier", "y")]))));
        assert!(!selects(&wanted, Some(&labels(&[("app", "a"), ("tier", "z")]))));
        assert!(!selects(&wanted, Some(&labels(&[("app", "a"), ("tier", "x"), ("old", "")]))));
        assert!(!selects(&wanted, None));
        assert!(selects(&LabelSelector::default(), None));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let bound = ["9".to_owned()];
        assert!(requirement(Some(&"10".into()), "Gt", &bound));
        assert!(!requirement(Some(&"10".into()), "Lt", &bound));
        assert!(!requirement(Some(&"ten".into()), "Gt", &bound));
    }

    #[test]
    fn orphans_are_taken_on_and_strangers_left_alone() {
        let set: ReplicaSet =
            serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"}})).unwrap();
        let pod = |name: &str, label: &str, owner: Option<&str>| -> Pod {
            let owners: Vec<Value> = owner
                .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": uid, "controller": true}))
                .into_iter()
                .collect();
            let meta = json!({"name": name, "namespace": "n", "uid": name, "labels": {"app": label}, "ownerReferences": owners});
            serde_json::from_value(json!({"metadata": meta})).unwrap()
        };
        let pods = [
            pod("orphan", "a", None),
            pod("own", "a", Some("u")),
            pod("strange", "a", Some("v")),
            pod("lost", "b", Some("u")),
        ];
        let selector = selector(json!({"matchLabels": {"app": "a"}}));
        let (claimed, actions) = claim((Kind::ReplicaSet, &set), (Kind::Pod, &pods), &selector);
        let names: Vec<_> = claimed.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["orphan", "own"]);
        let patches: Vec<(String, usize)> = actions
            .iter()
            .map(|action| match action {
                Action::Patch { target, patch, .. } => {
                    (target.name.clone(), patch["metadata"]["ownerReferences"].as_array().unwrap().len())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(patches, [("orphan".to_owned(), 1), ("lost".to_owned(), 0)]);
    }
}
