//! What the part of a new object was in the old one. An update is judged by what it changes: a part that is what it was
//! before is not held against it ("ratcheting").

use serde_json::Value;

use crate::schema::{ListType, Node};

/// The old value of the field `key`.
pub(super) fn field<'v>(old: Option<&'v Value>, key: &str) -> Option<&'v Value> {
    old?.get(key)
}

/// The old value of the element `element` of a list whose type is `list`: only elements with keys have an identity.
pub(super) fn element<'v>(old: Option<&'v Value>, list: &Node, element: &Value) -> Option<&'v Value> {
    let Some(ListType::Map(keys)) = list.list_type() else { return None };
    let defaults = list.items();
    let key_of = |value: &'v Value, key: &str| value.get(key);
    let same = |candidate: &&'v Value| {
        keys.iter().all(|key| {
            let default = defaults.and_then(|items| items.property(key)).and_then(Node::default_value);
            key_of(candidate, key).or(default) == element.get(key).or(default)
        })
    };
    old?.as_array()?.iter().find(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_elements_with_keys_are_found_again() {
        let keyed =
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]});
        let old = json!([{"n": 1, "v": "a"}, {"n": 2, "v": "b"}]);
        let found = element(Some(&old), &Node::parse(&keyed), &json!({"n": 2, "v": "c"}));
        assert_eq!(found, Some(&json!({"n": 2, "v": "b"})));
        let atomic = Node::parse(&json!({"type": "array"}));
        assert_eq!(element(Some(&old), &atomic, &json!({"n": 2})), None);
    }
}
