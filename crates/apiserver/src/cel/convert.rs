//! JSON as values of expressions: by the type that a definition gives it, or as it comes.

use std::collections::BTreeMap;
use std::rc::Rc;

use base64::Engine as _;
use serde_json::Value as Json;

use super::types::escape;
use super::value::{Identity, Key, Value};
use super::{duration, times};
use crate::schema::{Kind, ListType, Node};

/// A value that `node` describes; what it does not describe is not seen. `whole` for the object itself.
pub(crate) fn of_node(json: &Json, node: &Node, whole: bool) -> Value {
    if node.is_int_or_string() {
        return dynamic(json);
    }
    match json {
        Json::Array(items) => list(items, node),
        Json::Object(fields) => match node.values() {
            Some(values) => {
                let pair = |(key, json): (&String, &Json)| {
                    (Key::Text(key.as_str().into()), of_node(json, values, false))
                };
                Value::Map(Rc::new(fields.iter().map(pair).collect()))
            }
            None => object(json, node, whole || node.is_embedded_resource()),
        },
        Json::String(text) => formatted(text, node),
        Json::Number(number) if node.kind() == Kind::Number => {
            Value::Double(number.as_f64().unwrap_or_default())
        }
        other => dynamic(other),
    }
}

fn list(items: &[Json], node: &Node) -> Value {
    let element =
        |json: &Json| node.items().map_or_else(|| dynamic(json), |items| of_node(json, items, false));
    let identity = match node.list_type() {
        Some(ListType::Set) => Identity::Set,
        Some(ListType::Map(keys)) => Identity::Keys(keys.clone().into()),
        _ => Identity::Place,
    };
    Value::List(Rc::new(items.iter().map(element).collect()), identity)
}

fn object(json: &Json, node: &Node, whole: bool) -> Value {
    let mut fields = BTreeMap::new();
    let mut insert = |name: &str, value: Value| drop(fields.insert(Key::Text(name.into()), value));
    for (name, property) in node.properties() {
        if let (Some(value), Some(escaped)) = (json.get(name), escape(name))
            && (!value.is_null() || property.is_nullable())
        {
            insert(&escaped, of_node(value, property, false));
        }
    }
    if whole {
        for name in ["apiVersion", "kind"] {
            if let Some(value) = json.get(name) {
                insert(name, dynamic(value));
            }
        }
        let metadata = ["name", "generateName"]
            .into_iter()
            .filter_map(|name| Some((Key::Text(name.into()), dynamic(json["metadata"].get(name)?))));
        insert("metadata", Value::Map(Rc::new(metadata.collect())));
    }
    Value::Map(Rc::new(fields))
}

fn formatted(text: &str, node: &Node) -> Value {
    let special = match node.format() {
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()
            .map(|bytes| Value::Bytes(bytes.into())),
        "duration" => duration::parse(text).map(Value::Duration),
        "date" => times::parse(&format!("{text}T00:00:00Z")).map(Value::Timestamp),
        "date-time" | "datetime" => times::parse(text).map(Value::Timestamp),
        _ => None,
    };
    special.unwrap_or_else(|| Value::text(text))
}

/// A value whose type nobody said.
pub(crate) fn dynamic(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap_or_default()), Value::Int)
        }
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(dynamic).collect()),
        Json::Object(fields) => {
            let pair = |(key, json): (&String, &Json)| (Key::Text(key.as_str().into()), dynamic(json));
            Value::Map(Rc::new(fields.iter().map(pair).collect()))
        }
    }
}
