//! Discovery: which groups, versions and kinds there are, in the classic form and in the aggregated one (v2).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::resource::{Resource, Snapshot, group_version};
use crate::schema::Below;

/// Media type of the aggregated form.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A version and its kinds.
type Version<'k> = (&'k str, Vec<&'k Arc<Resource>>);

/// Groups in the real server's order, the core group first, custom ones last by name; each with its versions, the preferred one
/// first.
fn by_group(kinds: &Snapshot) -> Vec<(&str, Vec<Version<'_>>)> {
    let mut groups: BTreeMap<(usize, &str), BTreeMap<_, Vec<&Arc<Resource>>>> = BTreeMap::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, resource) in kinds.iter().enumerate() {
        let group = resource.group.as_str();
        let place = if resource.custom { usize::MAX } else { place };
        let place = *places.entry(group).or_insert(place);
        let versions = groups.entry((place, group)).or_default();
        versions
            .entry((Reverse(priority(&resource.version)), resource.version.as_str()))
            .or_default()
            .push(resource);
    }
    let flat =
        |versions: BTreeMap<_, _>| versions.into_iter().map(|((_, version), list)| (version, list)).collect();
    groups.into_iter().map(|((_, group), versions)| (group, flat(versions))).collect()
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

/// `/api`; `address` is where clients reach the server.
pub(super) fn core_versions(address: &str) -> Value {
    let everywhere = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": everywhere})
}

/// `/apis`.
pub(super) fn groups(kinds: &Snapshot) -> Value {
    let named = by_group(kinds).into_iter().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = named.map(|(name, versions)| describe(name, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`.
pub(super) fn group(kinds: &Snapshot, name: &str) -> Option<Value> {
    let groups = by_group(kinds);
    let (name, versions) = groups.iter().find(|(group, _)| *group == name && !name.is_empty())?;
    let mut group = describe(name, versions);
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
        rows.extend(resource.below.iter().map(|below| classic_below(resource, below)));
    }
    if rows.is_empty() {
        return None;
    }
    let name = group_version(group, version);
    let mut document = json!({"kind": "APIResourceList", "groupVersion": name, "resources": rows});
    // The real server says this of all groups but the first one.
    if !group.is_empty() {
        document["apiVersion"] = json!("v1");
    }
    Some(document)
}

fn classic(resource: &Resource) -> Value {
    let mut row = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.storage_version_hash.is_empty() {
        row["storageVersionHash"] = json!(resource.storage_version_hash);
    }
    add_names(&mut row, resource);
    row
}

fn classic_below(resource: &Resource, below: &Below) -> Value {
    let mut row = json!({
        "name": format!("{}/{}", resource.plural, below.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": below.kind, "verbs": below.verbs,
    });
    if let Some((group, version)) = &below.group_version {
        row["group"] = json!(group);
        row["version"] = json!(version);
    }
    row
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
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"metadata": metadata, "versions": versions})
}

/// Kinds of the enclosing group and version are named without them, where they are built in.
fn response_kind(resource: &Resource, kind: &str) -> Value {
    let (group, version) = if resource.custom { (&*resource.group, &*resource.version) } else { ("", "") };
    json!({"group": group, "version": version, "kind": kind})
}

fn aggregated_kind(resource: &Resource) -> Value {
    let mut row = json!({
        "resource": resource.plural, "singularResource": resource.singular, "verbs": resource.verbs,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": response_kind(resource, &resource.kind),
    });
    add_names(&mut row, resource);
    let below: Vec<Value> = resource.below.iter().map(|below| aggregated_below(resource, below)).collect();
    if !below.is_empty() {
        row["subresources"] = json!(below);
    }
    row
}

fn aggregated_below(resource: &Resource, below: &Below) -> Value {
    let kind = match &below.group_version {
        Some((group, version)) => json!({"group": group, "version": version, "kind": below.kind}),
        None => response_kind(resource, &below.kind),
    };
    json!({"subresource": below.name, "responseKind": kind, "verbs": below.verbs})
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
