//! Documents of the server, reduced to what is kept of them. Pure.

use serde_json::{Map, Value, json};

/// The kinds of a classic discovery document, in its order, each with the resources below its objects.
pub(super) fn kinds(document: &Value, group: &str, version: &str) -> Vec<Value> {
    let mut kinds: Vec<Value> = Vec::new();
    let rows = document["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    for row in rows.iter().filter(|row| !name(row).contains('/')) {
        let mut kind = row.clone();
        kind["group"] = json!(group);
        kind["version"] = json!(version);
        let prefix = format!("{}/", name(row));
        let below: Vec<Value> = rows.iter().filter_map(|row| below(row, &prefix)).collect();
        if !below.is_empty() {
            kind["subresources"] = json!(below);
        }
        kinds.push(kind);
    }
    kinds
}

fn name(row: &Value) -> &str {
    row["name"].as_str().unwrap_or_default()
}

fn below(row: &Value, prefix: &str) -> Option<Value> {
    let mut below =
        json!({"name": name(row).strip_prefix(prefix)?, "kind": row["kind"], "verbs": row["verbs"]});
    for key in ["group", "version"] {
        if let Some(value) = row.get(key) {
            below[key] = value.clone();
        }
    }
    Some(below)
}

/// The schemas of an OpenAPI v3 document by name, without descriptions.
pub(super) fn schemas(document: &Value) -> Vec<(String, Value)> {
    let schemas = document["components"]["schemas"].as_object();
    schemas.into_iter().flatten().map(|(name, schema)| (name.clone(), facts(schema))).collect()
}

/// A schema without its descriptions. Properties may be called `description`, so this follows the structure.
fn facts(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut kept = Map::new();
    for (key, value) in fields.iter().filter(|(key, _)| *key != "description") {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(map)) => map.iter().map(|(k, v)| (k.clone(), facts(v))).collect(),
            ("items" | "additionalProperties", value) => facts(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => list.iter().map(facts).collect(),
            _ => value.clone(),
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_go_and_a_property_of_that_name_stays() {
        let schema = json!({"description": "x", "properties": {"description": {"type": "string", "description": "y"}}});
        assert_eq!(facts(&schema), json!({"properties": {"description": {"type": "string"}}}));
    }

    #[test]
    fn what_is_below_an_object_goes_to_its_kind() {
        let document = json!({"resources": [
            {"name": "pods", "kind": "Pod", "verbs": ["get"]},
            {"name": "pods/eviction", "kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]},
        ]});
        let kinds = kinds(&document, "", "v1");
        assert_eq!(kinds.len(), 1);
        assert_eq!(kinds[0]["subresources"][0]["name"], "eviction");
        assert_eq!(kinds[0]["subresources"][0]["group"], "policy");
    }
}
