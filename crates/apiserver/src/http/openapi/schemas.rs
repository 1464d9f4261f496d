//! Types by name: those of built-in kinds as the facts have them, those of custom kinds as definitions have them, under the names
//! that the real server gives both.

use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::schema::{self, Below};

/// What references begin with.
pub(super) const PREFIX: &str = "#/components/schemas/";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Name of the type of a kind's objects: the package of a built-in one, the reversed group of a custom one.
pub(super) fn name(resource: &Resource) -> String {
    if resource.custom {
        let group: Vec<&str> = resource.group.rsplit('.').collect();
        return format!("{}.{}.{}", group.join("."), resource.version, resource.kind);
    }
    builtin_name(&resource.group, &resource.version, &resource.kind)
}

fn builtin_name(group: &str, version: &str, kind: &str) -> String {
    let definition = schema::builtin_definition(group, version, kind);
    definition.map_or_else(String::new, |definition| definition.name.to_owned())
}

/// Name of the type of lists of a kind.
pub(super) fn list_name(resource: &Resource) -> String {
    let name = name(resource);
    match name.rsplit_once('.') {
        Some((package, _)) => format!("{package}.{}", resource.list_kind),
        None => name,
    }
}

/// Name of the type of what is below an object; empty if it speaks no object.
pub(super) fn name_below(resource: &Resource, below: &Below) -> String {
    if below.kind == resource.kind {
        return name(resource);
    }
    let (group, version) = match &below.group_version {
        Some((group, version)) => (group.as_str(), version.as_str()),
        None => (resource.group.as_str(), resource.version.as_str()),
    };
    let found = builtin_name(group, version, &below.kind);
    if !found.is_empty() {
        return found;
    }
    // Kinds that are only ever below others have no row in discovery of their own.
    let wanted = [group.split('.').next().unwrap_or_default(), version, &below.kind].join(".");
    let mut definitions = schema::definitions();
    definitions
        .find(|definition| definition.go_path() == wanted)
        .map_or_else(String::new, |d| d.name.to_owned())
}

/// The types of custom kinds and of their lists.
pub(super) fn custom<'r>(resources: impl Iterator<Item = &'r Resource>) -> Map<String, Value> {
    let mut schemas = Map::new();
    for resource in resources.filter(|resource| resource.custom) {
        schemas.insert(list_name(resource), list(resource));
        schemas.insert(name(resource), object(resource));
    }
    schemas
}

fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("{PREFIX}{name}")}]})
}

fn gvk(resource: &Resource, kind: &str) -> Value {
    json!([{"group": resource.group, "version": resource.version, "kind": kind}])
}

fn object(resource: &Resource) -> Value {
    let open = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut schema = resource.schema.clone().filter(Value::is_object).unwrap_or_else(open);
    if schema["properties"].is_object() || schema["x-kubernetes-preserve-unknown-fields"] != true {
        let properties = crate::json::child(&mut schema, "properties");
        for key in ["apiVersion", "kind"] {
            properties[key]["type"] = json!("string");
        }
        properties["metadata"] = reference(OBJECT_META);
    }
    schema["x-kubernetes-group-version-kind"] = gvk(resource, &resource.kind);
    schema
}

fn list(resource: &Resource) -> Value {
    json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": reference(LIST_META),
            "items": {"type": "array", "items": reference(&name(resource))},
        },
        "x-kubernetes-group-version-kind": gvk(resource, &resource.list_kind),
    })
}

/// Adds the built-in types that `paths` and `schemas` refer to, and those that they refer to in turn.
pub(super) fn add_referenced(paths: &Map<String, Value>, schemas: &mut Map<String, Value>) {
    let mut wanted = Vec::new();
    paths.values().chain(schemas.values()).for_each(|value| references(value, &mut wanted));
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(definition) = schema::definition(&name) else { continue };
        // A test reads all of the facts, so this one is JSON.
        let value: Value = serde_json::from_str(definition.text).unwrap_or_default();
        references(&value, &mut wanted);
        schemas.insert(name, value);
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) =
                fields.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(PREFIX))
            {
                found.push(name.to_owned());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
