//! Lists that are sets or maps: each element, or each key, once.

use serde_json::{Map, Value, json};

use crate::schema::{ListType, Node};
use crate::status::Cause;

/// What is wrong with the lists in `value`, which is at `path`.
pub(super) fn validate(value: &Value, node: &Node, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(value, node, path, &mut causes);
    causes
}

fn walk(value: &Value, node: &Node, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Some(property) = node.property(key) {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, property, &path, causes);
                } else if let Some(values) = node.values() {
                    walk(value, values, &format!("{path}[{key}]"), causes);
                }
            }
        }
        Value::Array(items) => {
            causes.extend(list(items, node, path));
            let Some(element) = node.items() else { return };
            for (n, item) in items.iter().enumerate() {
                walk(item, element, &format!("{path}[{n}]"), causes);
            }
        }
        _ => {}
    }
}

fn list(items: &[Value], node: &Node, path: &str) -> Vec<Cause> {
    match node.list_type() {
        Some(ListType::Set) => {
            repeated(items).into_iter().map(|n| Cause::duplicate(format!("{path}[{n}]"), &items[n])).collect()
        }
        Some(ListType::Map(keys)) => keyed(items, keys, path),
        _ => Vec::new(),
    }
}

fn keyed(items: &[Value], keys: &[String], path: &str) -> Vec<Cause> {
    let foreign = items.iter().position(|item| !item.is_object() && !item.is_null());
    if let Some(n) = foreign {
        let detail = "must be an object for an array of list-type map";
        return vec![Cause::invalid_value(format!("{path}[{n}]"), &items[n], detail)];
    }
    let key_of = |item: &Value| {
        let given = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Value::Object(given.collect::<Map<_, _>>())
    };
    let all: Vec<Value> = items.iter().map(key_of).collect();
    repeated(&all).into_iter().map(|n| Cause::duplicate(format!("{path}[{n}]"), &json!(all[n]))).collect()
}

/// Places where something comes for the second time.
fn repeated(items: &[Value]) -> Vec<usize> {
    let mut seen = std::collections::HashMap::with_capacity(items.len());
    let mut places = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let times = seen.entry(item.to_string()).or_insert(0);
        *times += 1;
        if *times == 2 {
            places.push(n);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(schema: Value, value: Value) -> Vec<String> {
        let causes = validate(&value, &Node::parse(&schema), "");
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    #[test]
    fn a_set_has_each_element_once() {
        let schema = json!({"properties": {"s": {"type": "array", "x-kubernetes-list-type": "set"}}});
        assert_eq!(complaints(schema.clone(), json!({"s": ["a", "b"]})), Vec::<String>::new());
        assert_eq!(complaints(schema, json!({"s": ["a", "b", "a", "a"]})), ["s[2]: Duplicate value: \"a\""]);
    }

    #[test]
    fn a_map_has_each_key_once() {
        let schema = json!({"properties": {"m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}}});
        let twice = json!({"m": [{"k": 1, "v": 1}, {"k": 1, "v": 2}]});
        assert_eq!(complaints(schema.clone(), twice), ["m[1]: Duplicate value: {\"k\":1}"]);
        let plain = complaints(schema, json!({"m": ["x"]}));
        assert_eq!(plain, ["m[0]: Invalid value: \"x\": must be an object for an array of list-type map"]);
    }
}
