//! Pruning: fields that the type does not describe go, unless it preserves them. Says which went, for strict clients.

use serde_json::{Map, Value};

use crate::schema::{Additional, Node};

/// Fields that every object has, whatever its type says.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes from the whole object `object` what `node` does not describe; answers the paths of what went, sorted.
pub(super) fn prune(object: &mut Value, node: &Node) -> Vec<String> {
    let mut pruner = Pruner { unknown: Vec::new() };
    let mut path = String::new();
    let Some(fields) = object.as_object_mut() else { return Vec::new() };
    pruner.object(fields, node, &mut path, Depth::Root);
    pruner.unknown.sort();
    pruner.unknown
}

/// The same for a part of an object.
pub(super) fn prune_part(value: &mut Value, node: &Node) {
    Pruner { unknown: Vec::new() }.value(value, Some(node), &mut String::new());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The object of a request.
    Root,
    /// A part of it.
    Inside,
}

struct Pruner {
    unknown: Vec<String>,
}

impl Pruner {
    /// `None` for a value that nothing describes.
    fn value(&mut self, value: &mut Value, node: Option<&Node>, path: &mut String) {
        let length = path.len();
        match value {
            Value::Object(fields) => match node {
                Some(node) => self.object(fields, node, path, Depth::Inside),
                None => self.remove_all(fields, path),
            },
            Value::Array(items) => {
                let preserved = node.is_some_and(Node::preserves_unknown_fields);
                for (n, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{n}]"));
                    let element = node.and_then(Node::items);
                    match (preserved, element, item) {
                        (false, element, item) => self.value(item, element, path),
                        (true, Some(element), Value::Object(fields)) => {
                            self.preserved_object(fields, element, path, Depth::Inside);
                        }
                        (true, ..) => {}
                    }
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn remove_all(&mut self, fields: &mut Map<String, Value>, path: &str) {
        self.unknown.extend(fields.keys().map(|key| join(path, key)));
        fields.clear();
    }

    fn object(&mut self, fields: &mut Map<String, Value>, node: &Node, path: &mut String, depth: Depth) {
        if node.preserves_unknown_fields() {
            return self.preserved_object(fields, node, path, depth);
        }
        let whole = depth == Depth::Root || node.is_embedded_resource();
        let length = path.len();
        let mut gone = Vec::new();
        for (key, value) in fields.iter_mut() {
            if whole && OBJECT_FIELDS.contains(&key.as_str()) {
                continue;
            }
            let Some(field) = field(node, key) else {
                gone.push(key.clone());
                continue;
            };
            *path = join(path, key);
            self.value(value, field, path);
            path.truncate(length);
        }
        for key in gone {
            fields.remove(&key);
            self.unknown.push(join(path, &key));
        }
    }

    /// Fields that are described are pruned inside; the others are nobody's business.
    fn preserved_object(
        &mut self,
        fields: &mut Map<String, Value>,
        node: &Node,
        path: &mut String,
        depth: Depth,
    ) {
        let whole = depth == Depth::Root || node.is_embedded_resource();
        let length = path.len();
        for (key, value) in fields.iter_mut() {
            if whole && OBJECT_FIELDS.contains(&key.as_str()) {
                continue;
            }
            if let Some(Some(described)) = field(node, key) {
                *path = join(path, key);
                self.value(value, Some(described), path);
                path.truncate(length);
            }
        }
    }
}

/// `None` if the type has no such field, `Some(None)` if it has and says nothing about it.
fn field<'n>(node: &'n Node, key: &str) -> Option<Option<&'n Node>> {
    if let Some(property) = node.property(key) {
        return Some(Some(property));
    }
    match node.additional() {
        Additional::Of(values) => Some(Some(values)),
        Additional::Anything => Some(None),
        Additional::None => None,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(schema: Value, mut object: Value) -> (Value, Vec<String>) {
        let unknown = prune(&mut object, &Node::parse(&schema));
        (object, unknown)
    }

    #[test]
    fn what_is_not_described_goes_and_is_named() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "string"}}}},
        }}}});
        let object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"any": 1}, "more": 1, "spec": {
            "a": "b", "z": 1, "list": [{"x": "1", "q": 2}], "map": {"k": {"y": "1", "w": 1}},
        }});
        let (object, unknown) = pruned(schema, object);
        assert_eq!(unknown, ["more", "spec.list[0].q", "spec.map.k.w", "spec.z"]);
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"any": 1}, "spec": {
                "a": "b", "list": [{"x": "1"}], "map": {"k": {"y": "1"}},
            }})
        );
    }

    #[test]
    fn preserved_parts_keep_everything_but_what_is_described_otherwise() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        let object = json!({"x": {"y": 1}, "spec": {"a": "1", "b": 2}, "free": {"z": [1]}});
        let (object, unknown) = pruned(schema, object);
        assert_eq!(unknown, ["spec.b"]);
        assert_eq!(object, json!({"x": {"y": 1}, "spec": {"a": "1"}, "free": {"z": [1]}}));
        let anything = json!({"properties": {"b": {"x-kubernetes-preserve-unknown-fields": true}}});
        let list = json!({"b": [1, {"z": null}]});
        assert_eq!(pruned(anything, list.clone()), (list, Vec::new()));
    }

    #[test]
    fn an_embedded_resource_keeps_what_makes_it_an_object() {
        let schema = json!({"type": "object", "properties": {"r": {"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object", "properties": {}}}}}});
        let object = json!({"r": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"a": 1}, "o": 1}});
        let (object, unknown) = pruned(schema, object);
        assert_eq!(unknown, ["r.o", "r.spec.a"]);
        assert_eq!(object["r"]["metadata"], json!({"name": "x"}));
    }
}
