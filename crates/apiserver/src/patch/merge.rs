//! JSON merge patch, RFC 7386: objects merge, null removes, everything else replaces.

use serde_json::{Map, Value};

use super::PatchError;

pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("a merge patch must be a JSON object".into()));
    };
    let mut result = object.clone();
    merge_map(&mut result, patch);
    Ok(result)
}

fn merge_map(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            Value::Object(inner) => merge_map(target.entry(key.as_str()).or_insert(Value::Null), inner),
            other => drop(target.insert(key.clone(), other.clone())),
        }
    }
}
