//! Reading JSON objects by path, without ceremony: what is missing or of another type reads as empty.

use serde_json::{Map, Value};

/// The value at `path` (field names joined by dots), if it is there and not null.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The string at `path`, or the empty string.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of the list at `path`, or none.
pub(crate) fn items<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The integer at `path`.
pub(crate) fn integer(object: &Value, path: &str) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The value at `key` of `object`, made an object if it is none. `object` itself is made one if it is none.
pub(crate) fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let slot = &mut object[key];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot
}

/// The elements of the list at `key` of `object`, to be changed.
pub(crate) fn each<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Sets `key` of `object` unless it is there (null counts as not there). Does nothing to a value that is no object.
pub(crate) fn default(object: &mut Value, key: &str, value: impl Into<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    let slot = map.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value.into();
    }
}

/// Makes `key` of `to` what it is in `from`: the same value, or absent.
pub(crate) fn carry(key: &str, from: &Value, to: &mut Value) {
    let Some(map) = to.as_object_mut() else { return };
    match from.get(key) {
        Some(value) => drop(map.insert(key.into(), value.clone())),
        None => drop(map.remove(key)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_and_mistyped_read_as_empty() {
        let object = json!({"a": {"b": "x", "n": 3, "l": [1], "z": null}});
        assert_eq!((text(&object, "a.b"), text(&object, "a.n"), text(&object, "q.r")), ("x", "", ""));
        assert_eq!((items(&object, "a.l").len(), items(&object, "a.b").len()), (1, 0));
        assert_eq!((integer(&object, "a.n"), integer(&object, "a.b")), (Some(3), None));
        assert!(at(&object, "a.z").is_none());
    }

    #[test]
    fn carry_also_carries_absence() {
        let mut to = json!({"a": 1, "b": 2});
        carry("a", &json!({}), &mut to);
        carry("b", &json!({"b": 3}), &mut to);
        assert_eq!(to, json!({"b": 3}));
    }

    #[test]
    fn default_replaces_null_but_nothing_else() {
        let mut object = json!({"a": null, "b": 1});
        default(&mut object, "a", 5);
        default(&mut object, "b", 5);
        assert_eq!(object, json!({"a": 5, "b": 1}));
    }
}
