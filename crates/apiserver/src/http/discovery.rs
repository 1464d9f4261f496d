//! Discovery: which groups, versions and kinds there are, in the classic form and in the aggregated one (v2).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::resource::{Resource, Snapshot, group_version};

/// Media type of the aggregated form.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// A resource below an object: its name, the kind it speaks, and its verbs.
struct Subresource {
    name: &'static str,
    kind: String,
    group: String,
    version: String,
    verbs: &'static [&'static str],
}

fn subresources(resource: &Resource) -> Vec<Subresource> {
    let mut found = Vec::new();
    let own = |name, kind: &str, verbs| Subresource {
        name,
        kind: kind.into(),
        group: resource.group.clone(),
        version: resource.version.clone(),
        verbs,
    };
    if resource.group.is_empty() && resource.plural == "pods" {
        found.push(own("binding", "Binding", &["create"]));
    }
    if resource.status {
        found.push(own("status", &resource.kind, &STATUS_VERBS));
    }
    found
}

/// A version and its kinds.
type Version<'k> = (&'k str, Vec<&'k Arc<Resource>>);

/// Groups in alphabetical order, the core group first; each with its versions, the preferred one first.
fn by_group(kinds: &Snapshot) -> BTreeMap<&str, Vec<Version<'_>>> {
    let mut groups: BTreeMap<&str, BTreeMap<_, Vec<&Arc<Resource>>>> = BTreeMap::new();
    for resource in kinds.iter() {
        let versions = groups.entry(resource.group.as_str()).or_default();
        versions
            .entry((Reverse(priority(&resource.version)), resource.version.as_str()))
            .or_default()
            .push(resource);
    }
    let mut flat = BTreeMap::new();
    for (group, versions) in groups {
        flat.insert(group, versions.into_iter().map(|((_, version), list)| (version, list)).collect());
    }
    flat
}

/// Stable before beta before alpha, then the higher number; names of another form last.
fn priority(version: &str) -> (u8, u32, u32) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = (rest[..digits].parse().ok()?, &rest[digits..]);
        match (rest, rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            ("", _, _) => Some((3, major, 0)),
            (_, Some(minor), _) => Some((2, major, minor.parse().ok()?)),
            (_, _, Some(minor)) => Some((1, major, minor.parse().ok()?)),
            _ => None,
        }
    });
    parsed.unwrap_or((0, 0, 0))
}

/// `/api`.
pub(super) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub(super) fn groups(kinds: &Snapshot) -> Value {
    let named = by_group(kinds).into_iter().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = named.map(|(name, versions)| describe(name, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`.
pub(super) fn group(kinds: &Snapshot, name: &str) -> Option<Value> {
    let mut group = describe(name, by_group(kinds).get(name).filter(|_| !name.is_empty())?);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn describe(name: &str, versions: &[Version<'_>]) -> Value {
    let version =
        |(version, _): &(&str, _)| json!({"groupVersion": group_version(name, version), "version": version});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "preferredVersion": versions[0], "versions": versions})
}

/// `/api/v1` and `/apis/{group}/{version}`.
pub(super) fn kinds(kinds: &Snapshot, group: &str, version: &str) -> Option<Value> {
    let mut rows = Vec::new();
    for resource in kinds.iter().filter(|r| r.group == group && r.version == version) {
        rows.push(classic(resource));
        rows.extend(subresources(resource).iter().map(|sub| classic_sub(resource, sub)));
    }
    if rows.is_empty() {
        return None;
    }
    let name = group_version(group, version);
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows}))
}

fn classic(resource: &Resource) -> Value {
    let mut row = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": VERBS,
    });
    add_names(&mut row, resource);
    row
}

fn classic_sub(resource: &Resource, sub: &Subresource) -> Value {
    json!({
        "name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs,
    })
}

fn add_names(row: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        row["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        row["categories"] = json!(resource.categories);
    }
}

/// `/api` or `/apis` with everything below it.
pub(super) fn aggregated(kinds: &Snapshot, core: bool) -> Value {
    let groups = by_group(kinds).into_iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = groups.map(|(name, versions)| aggregated_group(name, &versions)).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(name: &str, versions: &[Version<'_>]) -> Value {
    let version = |(version, list): &Version<'_>| {
        let resources: Vec<Value> = list.iter().map(|resource| aggregated_kind(resource)).collect();
        json!({"version": version, "freshness": "Current", "resources": resources})
    };
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
}

fn aggregated_kind(resource: &Resource) -> Value {
    let mut row = json!({
        "resource": resource.plural, "singularResource": resource.singular, "verbs": VERBS,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
    });
    add_names(&mut row, resource);
    let below: Vec<Value> = subresources(resource).iter().map(aggregated_sub).collect();
    if !below.is_empty() {
        row["subresources"] = json!(below);
    }
    row
}

fn aggregated_sub(sub: &Subresource) -> Value {
    let kind = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
    json!({"subresource": sub.name, "responseKind": kind, "verbs": sub.verbs})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v1beta2", "v2"];
        versions.sort_by_key(|v| Reverse(priority(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn both_forms_list_the_same_kinds() {
        let snapshot = Registry::default().snapshot();
        let classic = kinds(&snapshot, "", "v1").unwrap();
        let names: Vec<&str> =
            classic["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"pods") && names.contains(&"pods/status") && names.contains(&"pods/binding"));
        let core = aggregated(&snapshot, true);
        let whole: Vec<&Value> =
            core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter().collect();
        assert_eq!(whole.len(), names.iter().filter(|name| !name.contains('/')).count());
    }

    #[test]
    fn unknown_groups_are_not_there() {
        let snapshot = Registry::default().snapshot();
        assert!(group(&snapshot, "x.io").is_none() && kinds(&snapshot, "", "v9").is_none());
        assert_eq!(group(&snapshot, "events.k8s.io").unwrap()["preferredVersion"]["version"], "v1");
    }
}
