//! OpenAPI v3, minimal: which kinds there are, that writes know `fieldValidation` (so `kubectl apply` leaves validation to
//! the server), and the schemas that definitions carry. Schemas of built-in kinds are open.
//!
//! The patch operations deliberately do not list the strategic type: kubectl would then compute patches from these
//! schemas, which have no merge keys; without it, it uses the ones that it was built with.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::resource::{Resource, Snapshot};

/// The index: one document per group and version; its hash changes with its content.
pub(super) fn index(kinds: &Snapshot) -> Value {
    let mut paths = Map::new();
    for resource in kinds.iter() {
        let place = place(&resource.group, &resource.version);
        if !paths.contains_key(&place) {
            let text = document(kinds, &resource.group, &resource.version).unwrap_or_default().to_string();
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let url = format!("/openapi/v3/{place}?hash={:016X}", hasher.finish());
            paths.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The document of one group and version.
pub(super) fn document(kinds: &Snapshot, group: &str, version: &str) -> Option<Value> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in kinds.iter().filter(|r| r.group == group && r.version == version) {
        let collection = collection_path(resource);
        paths.insert(format!("{collection}/{{name}}"), item(resource));
        paths.insert(collection, json!({"get": operation(resource, "list", &[]), "post": create(resource)}));
        schemas.insert(schema_name(resource), schema(resource));
    }
    if paths.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.35.0"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

fn collection_path(resource: &Resource) -> String {
    let namespace = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("/{}/{namespace}{}", place(&resource.group, &resource.version), resource.plural)
}

fn schema_name(resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { &resource.group };
    format!("{group}.{}.{}", resource.version, resource.kind)
}

fn gvk(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn schema(resource: &Resource) -> Value {
    let mut schema = resource
        .schema
        .clone()
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    schema["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
    schema
}

fn parameters(names: &[&str]) -> Vec<Value> {
    names
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect()
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

fn operation(resource: &Resource, action: &str, parameter_names: &[&str]) -> Value {
    json!({
        "operationId": format!("{action}{}", schema_name(resource).replace(['.', '-'], "")),
        "parameters": parameters(parameter_names),
        "responses": {"200": {"description": "OK", "content": content(resource)}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(resource),
    })
}

fn content(resource: &Resource) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{}", schema_name(resource))}}})
}

fn create(resource: &Resource) -> Value {
    let mut post = operation(resource, "post", WRITE);
    post["requestBody"] = json!({"required": true, "content": content(resource)});
    post
}

fn item(resource: &Resource) -> Value {
    let mut put = operation(resource, "put", WRITE);
    put["requestBody"] = json!({"required": true, "content": content(resource)});
    let mut patch = operation(resource, "patch", WRITE);
    let open = json!({"schema": {"type": "object"}});
    patch["requestBody"] = json!({"required": true, "content": {
        "application/json-patch+json": open, "application/merge-patch+json": open,
    }});
    json!({
        "get": operation(resource, "get", &[]), "put": put, "patch": patch,
        "delete": operation(resource, "delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    #[test]
    fn every_index_entry_leads_to_a_document_that_validates_fields() {
        let kinds = Registry::default().snapshot();
        assert!(index(&kinds)["paths"].as_object().unwrap().contains_key("apis/events.k8s.io/v1"));
        let core = document(&kinds, "", "v1").unwrap();
        let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
        assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
        assert!(document(&kinds, "x", "v1").is_none());
    }
}
