//! JSON patches (RFC 6902) for what a mutation changed.
//!
//! The patch is between two readings of the object by the same type, applied to the object as it was sent. So fields that the type does not
//! know stay, and a value that was only written differently is not touched.

use serde_json::{Map, Value, json};

/// The operations that turn `before` into `after`, for the document `original` that `before` was read from.
pub fn between(original: &Value, before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    compare(original, (before, after), String::new(), &mut operations);
    operations
}

fn compare(original: &Value, (before, after): (&Value, &Value), path: String, operations: &mut Vec<Value>) {
    if before == after {
        return;
    }
    let (Value::Object(from), Value::Object(to), Value::Object(there)) = (before, after, original) else {
        operations.push(json!({"op": "add", "path": path, "value": after}));
        return;
    };
    for key in from.keys().filter(|key| !to.contains_key(*key) && there.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": child(&path, key)}));
    }
    for (key, value) in to {
        compare(
            original_of(there, key),
            (from.get(key).unwrap_or(&Value::Null), value),
            child(&path, key),
            operations,
        );
    }
}

fn original_of<'v>(there: &'v Map<String, Value>, key: &str) -> &'v Value {
    there.get(key).unwrap_or(&Value::Null)
}

fn child(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_in_the_patch() {
        let original = json!({"metadata": {"name": "p"}, "spec": {"ips": ["a", "b"], "unknown": 1, "vlan": 0, "gone": 1}});
        let before = json!({"metadata": {"name": "p"}, "spec": {"ips": ["a", "b"], "vlan": 0, "gone": 1}});
        let after = json!({"metadata": {"name": "p", "labels": {"a/b": "c"}}, "spec": {"ips": ["a-b"], "vlan": 0, "ipVersion": 4}});
        assert_eq!(
            between(&original, &before, &after),
            [
                json!({"op": "add", "path": "/metadata/labels", "value": {"a/b": "c"}}),
                json!({"op": "remove", "path": "/spec/gone"}),
                json!({"op": "add", "path": "/spec/ipVersion", "value": 4}),
                json!({"op": "add", "path": "/spec/ips", "value": ["a-b"]}),
            ]
        );
        assert!(between(&original, &before, &before).is_empty());
    }

    #[test]
    fn keys_are_escaped_and_parents_that_are_missing_come_whole() {
        let original = json!({"metadata": {"labels": {"x": "y"}}});
        let before = json!({"metadata": {"labels": {"x": "y"}}, "spec": {}});
        let after = json!({"metadata": {"labels": {"x": "y", "a/b~c": "d"}}, "spec": {"z": 1}});
        assert_eq!(
            between(&original, &before, &after),
            [
                json!({"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "d"}),
                json!({"op": "add", "path": "/spec", "value": {"z": 1}}),
            ]
        );
    }
}
