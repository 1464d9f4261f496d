//! JSON as the Go programs around CNI read and write it (spec/cni.md 1.9).
//!
//! Reading: keys match without regard to case when there is no exact match, unknown keys are ignored, `null`
//! means the default, and a wrong type is an error that names the field. Writing: Go's number forms and
//! escapes, sorted keys.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod go_map;
mod print;
mod read;

pub use go_map::GoMap;
pub use print::{print_compact, print_indented, print_sorted};
pub use read::JsonError;

/// A JSON object as written, whatever its keys.
pub type JsonMap = serde_json::Map<String, Value>;

/// Finds a key: the exact one, else one that differs only in (ASCII) case. `null` counts as absent.
pub fn get_ci<'a>(map: &'a JsonMap, key: &str) -> Option<&'a Value> {
    let exact = map.get(key);
    let found =
        exact.or_else(|| map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// As [`get_ci`], to be changed.
pub fn get_mut_ci<'a>(map: &'a mut JsonMap, key: &str) -> Option<&'a mut Value> {
    let differs = !map.contains_key(key);
    let found = map.iter_mut().find(|(name, _)| match differs {
        true => name.eq_ignore_ascii_case(key),
        false => *name == key,
    });
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

/// Removes a key in every spelling, so that a value set afterwards is the only one.
pub fn remove_ci(map: &mut JsonMap, key: &str) {
    map.retain(|name, _| !name.eq_ignore_ascii_case(key));
}

/// Decodes a whole text. Duplicate keys: the last one wins. Bytes that are no UTF-8 become U+FFFD, as in Go.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    from_value(&parse(bytes)?)
}

/// Decodes a value into a type that derives `Deserialize`, by the rules above. Give optional fields
/// `#[serde(default)]`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, JsonError> {
    T::deserialize(read::GoValue(value))
}

/// As [`from_value`], for an object.
pub fn from_map<T: DeserializeOwned>(map: &JsonMap) -> Result<T, JsonError> {
    T::deserialize(read::GoObject(map))
}

/// Parses any JSON text.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).map_err(JsonError::syntax)
}

/// Parses a text that has to be an object (`null` is the empty one).
pub fn parse_object(bytes: &[u8]) -> Result<JsonMap, JsonError> {
    match parse(bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(JsonMap::new()),
        other => Err(JsonError::wrong_type(&other, "object")),
    }
}

/// Turns anything that serialises into a value. Only types that cannot fail (no map with other keys than
/// strings) are given here; should one fail all the same, the answer is `null`.
pub(crate) fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// What Go calls the type of a value in its messages.
pub fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
