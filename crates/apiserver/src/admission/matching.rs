//! Does a webhook want to see a request? Rules first, which need no object; then selectors. Pure.

use serde_json::Value;

use super::hook::{Hook, Rule};
use super::{Attributes, Operation, Place};
use crate::resource::{Resource, Snapshot};
use crate::selector::LabelSelector;
use crate::status::Status;

/// Kinds that configure admission are not subject to it: nobody can lock themselves out.
const EXEMPT: [&str; 6] = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
];

/// True if no webhook is ever asked about this kind.
pub(super) fn is_exempt(resource: &Resource) -> bool {
    resource.group == "admissionregistration.k8s.io" && EXEMPT.contains(&resource.kind.as_str())
}

/// The version in which `hook` wants to see what happens at `place`, if it wants to.
pub(super) fn version_for<'k>(hook: &Hook, place: &'k Place, kinds: &'k Snapshot) -> Option<&'k Resource> {
    if hook.rules.iter().any(|rule| rule_matches(rule, place, &place.resource)) {
        return Some(&place.resource);
    }
    if !hook.equivalent {
        return None;
    }
    let siblings = || kinds.iter().filter(|other| is_sibling(other, &place.resource));
    hook.rules.iter().find_map(|rule| {
        siblings().find(|other| rule_matches(rule, place, other)).map(std::convert::AsRef::as_ref)
    })
}

/// Another version of the same objects.
fn is_sibling(other: &Resource, resource: &Resource) -> bool {
    other.custom
        && other.group == resource.group
        && other.plural == resource.plural
        && other.version != resource.version
}

fn rule_matches(rule: &Rule, place: &Place, resource: &Resource) -> bool {
    let fits = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    in_scope(rule, resource)
        && fits(&rule.operations, place.operation.name())
        && fits(&rule.groups, &resource.group)
        && fits(&rule.versions, &resource.version)
        && rule.resources.iter().any(|pattern| resource_fits(pattern, &resource.plural, place.subresource))
}

fn in_scope(rule: &Rule, resource: &Resource) -> bool {
    match rule.scope.as_str() {
        "*" => true,
        "Namespaced" => resource.namespaced,
        "Cluster" => !resource.namespaced,
        _ => false,
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*/*`, and `*` for all resources without sub-resources.
fn resource_fits(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == plural) && (sub == "*" || sub == subresource)
}

/// True if one of the two objects carries the labels.
pub(super) fn objects_match(selector: &LabelSelector, attributes: &Attributes) -> bool {
    let matches = |object: &Value| !object.is_null() && selector.matches(object);
    selector.is_empty() || matches(&attributes.object) || matches(&attributes.old)
}

/// True if the namespace concerned carries the labels; cluster-wide objects other than namespaces always do.
/// `namespace` finds a namespace by its name.
pub(super) fn namespace_matches(
    selector: &LabelSelector,
    attributes: &Attributes,
    namespace: impl Fn(&str) -> Result<Option<Value>, Status>,
) -> Result<bool, Status> {
    if selector.is_empty() || attributes.namespace.is_empty() {
        return Ok(true);
    }
    let resource = &attributes.place.resource;
    let own = resource.group.is_empty()
        && resource.plural == "namespaces"
        && attributes.place.subresource.is_empty()
        && attributes.place.operation != Operation::Delete;
    if own {
        return Ok(selector.matches(&attributes.object));
    }
    let Some(found) = namespace(&attributes.namespace)? else {
        let subject = crate::status::Subject {
            kind: "namespaces".into(),
            name: attributes.namespace.clone(),
            ..Default::default()
        };
        return Err(Status::not_found(subject));
    };
    Ok(selector.matches(&found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::Registry;

    fn place(group: &str, plural: &str, subresource: &'static str) -> Place {
        let kinds = Registry::default().snapshot();
        let resource = kinds.find(group, "v1", plural).unwrap().clone();
        Place { operation: Operation::Update, resource, subresource }
    }

    fn wants(rule: Value, place: &Place) -> bool {
        let hook = Hook::read(&json!({"rules": [rule]}));
        version_for(&hook, place, &Registry::default().snapshot()).is_some()
    }

    fn rule(resources: &[&str]) -> Value {
        json!({"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources})
    }

    #[test]
    fn resources_match_with_and_without_subresources() {
        let (pods, status) = (place("", "pods", ""), place("", "pods", "status"));
        for (pattern, main, sub) in [
            ("pods", true, false),
            ("pods/status", false, true),
            ("pods/*", true, true),
            ("*", true, false),
            ("*/*", true, true),
            ("*/status", false, true),
            ("nodes", false, false),
        ] {
            assert_eq!(wants(rule(&[pattern]), &pods), main, "{pattern}");
            assert_eq!(wants(rule(&[pattern]), &status), sub, "{pattern}");
        }
    }

    #[test]
    fn groups_operations_and_scope_must_match_too() {
        let pods = place("", "pods", "");
        for (field, value, expected) in [
            ("apiGroups", json!(["apps"]), false),
            ("apiGroups", json!(["*"]), true),
            ("apiVersions", json!(["v2"]), false),
            ("operations", json!(["*"]), true),
            ("operations", json!(["CREATE", "DELETE"]), false),
            ("scope", json!("Namespaced"), true),
            ("scope", json!("Cluster"), false),
        ] {
            let mut rule = rule(&["pods"]);
            rule[field] = value;
            assert_eq!(wants(rule, &pods), expected, "{field}");
        }
        let mut cluster = rule(&["namespaces"]);
        cluster["scope"] = json!("Cluster");
        assert!(wants(cluster, &place("", "namespaces", "")));
    }

    #[test]
    fn selectors_look_at_either_object_and_at_the_namespace() {
        let selector = LabelSelector::from_object(&json!({"matchLabels": {"a": "b"}}));
        let labelled = json!({"metadata": {"labels": {"a": "b"}}});
        let mut attributes = Attributes {
            place: place("", "pods", ""),
            namespace: "ns".into(),
            name: String::new(),
            object: json!({"metadata": {}}),
            old: labelled.clone(),
            options: Value::Null,
            user: Value::Null,
            dry_run: false,
        };
        assert!(objects_match(&selector, &attributes));
        attributes.old = Value::Null;
        assert!(!objects_match(&selector, &attributes));
        let in_namespace =
            |found: Option<Value>| namespace_matches(&selector, &attributes, |_| Ok(found.clone()));
        assert_eq!(in_namespace(Some(labelled)), Ok(true));
        assert_eq!(in_namespace(Some(json!({}))), Ok(false));
        assert_eq!(in_namespace(None).unwrap_err().code, 404);
    }
}
