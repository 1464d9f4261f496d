//! Whole objects inside of objects (`x-kubernetes-embedded-resource`): they say what they are.

use serde_json::{Map, Value};

use crate::schema::Node;
use crate::status::Cause;
use crate::strategy::NameRule;

/// What is wrong with the embedded resources of an object.
pub(super) fn validate(object: &Value, node: &Node) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(object, node, "", &mut causes);
    causes
}

fn walk(value: &Value, node: &Node, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(fields) => {
            if node.is_embedded_resource() {
                causes.extend(resource(fields, path));
            }
            for (key, value) in fields {
                if node.is_embedded_resource() && key == "metadata" {
                    continue;
                }
                if let Some(property) = node.property(key) {
                    walk(value, property, &join(path, key), causes);
                } else if let Some(values) = node.values() {
                    walk(value, values, &format!("{path}[{key}]"), causes);
                }
            }
        }
        Value::Array(items) => {
            let Some(element) = node.items() else { return };
            for (n, item) in items.iter().enumerate() {
                walk(item, element, &format!("{path}[{n}]"), causes);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn resource(fields: &Map<String, Value>, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for key in ["apiVersion", "kind"] {
        let field = join(path, key);
        match fields.get(key) {
            None => causes.push(Cause::required(field, "")),
            Some(Value::String(text)) if text.is_empty() => {
                causes.push(Cause::invalid(field, text, "must not be empty"));
            }
            Some(Value::String(text)) => causes.extend(named(field, key, text)),
            Some(other) => causes.push(Cause::invalid_value(field, other, "must be a string")),
        }
    }
    causes
}

fn named(field: String, key: &str, text: &str) -> Option<Cause> {
    if key == "apiVersion" {
        let detail = format!("unexpected GroupVersion string: {text}");
        return (text.matches('/').count() > 1).then(|| Cause::invalid(field, text, &detail));
    }
    let complaint = NameRule::Label1035.complaint(&text.to_lowercase())?;
    let detail = format!("may have mixed case, but should otherwise match: {complaint}");
    Some(Cause::invalid(field, text, &detail))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_embedded_resource_says_what_it_is() {
        let node = Node::parse(
            &json!({"properties": {"r": {"type": "object", "x-kubernetes-embedded-resource": true}}}),
        );
        let complaints = |r: Value| -> Vec<String> {
            let causes = validate(&json!({"r": r}), &node);
            causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
        };
        assert_eq!(complaints(json!({"apiVersion": "v1", "kind": "Pod"})), Vec::<String>::new());
        assert_eq!(complaints(json!({"kind": ""}))[0], "r.apiVersion: Required value");
        assert_eq!(
            complaints(json!({"apiVersion": "a/b/c", "kind": "Pod"})),
            ["r.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"]
        );
    }
}
