//! OpenAPI v2 (Swagger), for clients that know no v3: the same paths and types in its words, which have no defaults beside
//! references, no alternatives and no null.

use serde_json::{Map, Value, json};

use super::schemas::PREFIX;

/// Words of v3 that v2 has not, or that mean nothing to its clients.
const DROPPED: [&str; 8] =
    ["default", "nullable", "oneOf", "anyOf", "not", "x-kubernetes-validations", "example", "$schema"];

/// The document, from the paths and schemas of v3.
pub(super) fn document(info: Value, paths: &Map<String, Value>, schemas: &Map<String, Value>) -> Value {
    let paths: Map<String, Value> =
        paths.iter().map(|(path, item)| (path.clone(), path_item(item))).collect();
    let definitions: Map<String, Value> =
        schemas.iter().map(|(name, value)| (name.clone(), schema(value))).collect();
    json!({
        "swagger": "2.0", "info": info, "paths": paths, "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
        }},
        "security": [{"BearerToken": []}],
    })
}

fn path_item(item: &Value) -> Value {
    let entries = item.as_object().into_iter().flatten();
    let converted = entries.map(|(key, value)| {
        let value = if key == "parameters" { parameters(value).into() } else { operation(value) };
        (key.clone(), value)
    });
    Value::Object(converted.collect())
}

fn operation(operation: &Value) -> Value {
    let mut converted = operation.as_object().cloned().unwrap_or_default();
    let mut own = parameters(&converted.remove("parameters").unwrap_or_default());
    let mut consumes = vec![json!("*/*")];
    if let Some(body) = converted.remove("requestBody") {
        let content = body["content"].as_object().cloned().unwrap_or_default();
        consumes = content.keys().map(|media_type| json!(media_type)).collect();
        let described = content.values().next().map(|first| schema(&first["schema"])).unwrap_or_default();
        let mut parameter = json!({"name": "body", "in": "body", "schema": described});
        if body["required"] == true {
            parameter["required"] = json!(true);
        }
        own.insert(0, parameter);
    }
    let responses = converted.get("responses").and_then(Value::as_object).cloned().unwrap_or_default();
    let responses: Map<String, Value> =
        responses.iter().map(|(code, answer)| (code.clone(), response(answer))).collect();
    converted.insert("responses".into(), responses.into());
    converted.insert("consumes".into(), consumes.into());
    converted.insert("produces".into(), json!(["application/json"]));
    converted.insert("schemes".into(), json!(["https"]));
    if !own.is_empty() {
        converted.insert("parameters".into(), own.into());
    }
    converted.into()
}

fn parameters(list: &Value) -> Vec<Value> {
    let convert = |parameter: &Value| {
        let mut converted = parameter.as_object().cloned().unwrap_or_default();
        if let Some(Value::Object(schema)) = converted.remove("schema") {
            converted.extend(schema);
        }
        Value::Object(converted)
    };
    list.as_array().into_iter().flatten().map(convert).collect()
}

fn response(answer: &Value) -> Value {
    let mut converted = json!({"description": answer["description"]});
    if let Some(described) = answer.pointer("/content/application~1json/schema") {
        converted["schema"] = schema(described);
    }
    converted
}

/// A type in the words of v2.
fn schema(value: &Value) -> Value {
    let Some(fields) = value.as_object() else { return value.clone() };
    if let Some(reference) = reference(fields) {
        return json!({"$ref": format!("#/definitions/{reference}")});
    }
    let mut converted = Map::new();
    for (key, value) in fields.iter().filter(|(key, _)| !DROPPED.contains(&key.as_str())) {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(map)) => map.iter().map(|(k, v)| (k.clone(), schema(v))).collect(),
            ("items" | "additionalProperties", Value::Object(_)) => schema(value),
            ("allOf", _) => continue,
            _ => value.clone(),
        };
        converted.insert(key.clone(), value);
    }
    // What is an integer or a string, or a number or a string, is called a string here.
    let alternatives = fields.get("oneOf").or_else(|| fields.get("anyOf")).and_then(Value::as_array);
    let is_text = alternatives.is_some_and(|list| list.iter().any(|one| one["type"] == "string"));
    if is_text && !converted.contains_key("type") {
        converted.insert("type".into(), json!("string"));
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        converted.remove("type");
    }
    converted.into()
}

fn reference(fields: &Map<String, Value>) -> Option<&str> {
    let wrapped = || fields.get("allOf")?.as_array().filter(|all| all.len() == 1)?[0].get("$ref");
    fields.get("$ref").or_else(wrapped)?.as_str()?.strip_prefix(PREFIX)
}
