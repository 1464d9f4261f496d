//! Defaulting: absent fields get what the type says, and nulls that may not be null go before that.

use serde_json::Value;

use crate::schema::Node;

/// Removes nulls that are neither allowed nor replaced by a default.
pub(super) fn remove_nulls(value: &mut Value, node: Option<&Node>) {
    match value {
        Value::Object(fields) => {
            let field = |key: &str| node.and_then(|node| node.property(key).or_else(|| node.values()));
            fields.retain(|key, value| !is_stray_null(value, field(key)));
            for (key, value) in fields.iter_mut() {
                remove_nulls(value, field(key));
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| remove_nulls(item, node.and_then(Node::items)));
        }
        _ => {}
    }
}

fn is_stray_null(value: &Value, node: Option<&Node>) -> bool {
    value.is_null() && node.is_some_and(|node| !node.is_nullable() && node.default_value().is_none())
}

/// Fills in defaults, all the way down. Filled-in values are filled in too, so that doing it twice changes nothing.
pub(super) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(fields) => {
            for (name, property) in node.properties() {
                let Some(default) = property.default_value() else { continue };
                if fields.get(name).is_none_or(|present| is_replaceable(present, property)) {
                    fields.insert(name.to_owned(), default.clone());
                }
            }
            for (key, value) in fields.iter_mut() {
                if let Some(field) = node.property(key).or_else(|| node.values()) {
                    replace_null(value, field);
                    fill(value, field);
                }
            }
        }
        Value::Array(items) => {
            let Some(element) = node.items() else { return };
            for item in items {
                replace_null(item, element);
                fill(item, element);
            }
        }
        _ => {}
    }
}

fn is_replaceable(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.is_nullable()
}

fn replace_null(value: &mut Value, node: &Node) {
    if is_replaceable(value, node) {
        *value = node.default_value().cloned().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(schema: &Value, mut object: Value) -> Value {
        let node = Node::parse(schema);
        remove_nulls(&mut object, Some(&node));
        fill(&mut object, &node);
        object
    }

    #[test]
    fn defaults_go_into_what_is_there_and_into_defaults() {
        let schema = json!({"properties": {
            "spec": {"default": {}, "properties": {"a": {"type": "string", "default": "x"}}},
            "list": {"items": {"properties": {"n": {"default": 1}}}},
            "map": {"additionalProperties": {"properties": {"m": {"default": true}}}},
        }});
        let object = filled(&schema, json!({"list": [{}, {"n": 2}], "map": {"k": {}}}));
        assert_eq!(
            object,
            json!({"spec": {"a": "x"}, "list": [{"n": 1}, {"n": 2}], "map": {"k": {"m": true}}})
        );
        assert_eq!(filled(&schema, object.clone()), object);
    }

    #[test]
    fn a_null_is_a_value_only_where_it_may_be() {
        let schema = json!({"properties": {
            "kept": {"nullable": true, "default": 1}, "filled": {"default": 1}, "gone": {"type": "string"},
        }});
        let object = json!({"kept": null, "filled": null, "gone": null, "unknown": null});
        assert_eq!(filled(&schema, object), json!({"kept": null, "filled": 1, "unknown": null}));
    }
}
