//! Typed look-ups of single keys in an object, for those who keep the object as written.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{JsonError, JsonMap, from_value, get_ci};

/// A view of an object by the rules of spec/cni.md 1.9. An absent key and `null` are `None` or the empty
/// value; a wrong type is an error that names the key.
#[derive(Clone, Copy, Debug)]
pub struct GoMap<'a>(pub &'a JsonMap);

impl<'a> GoMap<'a> {
    /// The value as written, unless absent or `null`.
    pub fn get(self, key: &str) -> Option<&'a Value> {
        get_ci(self.0, key)
    }

    /// Any type that derives `Deserialize`.
    pub fn read<T: DeserializeOwned>(self, key: &str) -> Result<Option<T>, JsonError> {
        let read = |value| from_value(value).map_err(|error: JsonError| error.within(key));
        self.get(key).map(read).transpose()
    }

    /// Text, or the empty text.
    pub fn string(self, key: &str) -> Result<&'a str, JsonError> {
        self.typed(key, "string", Value::as_str).map(Option::unwrap_or_default)
    }

    /// A switch, if given.
    pub fn bool(self, key: &str) -> Result<Option<bool>, JsonError> {
        self.typed(key, "bool", Value::as_bool)
    }

    /// An integer, if given. A number with a fraction or exponent is an error, as in Go.
    pub fn int(self, key: &str) -> Result<Option<i64>, JsonError> {
        self.typed(key, "int", Value::as_i64)
    }

    /// A list of texts, or the empty list.
    pub fn strings(self, key: &str) -> Result<Vec<String>, JsonError> {
        self.read(key).map(Option::unwrap_or_default)
    }

    /// A nested object, if given.
    pub fn object(self, key: &str) -> Result<Option<&'a JsonMap>, JsonError> {
        self.typed(key, "object", Value::as_object)
    }

    /// A nested list, if given.
    pub fn array(self, key: &str) -> Result<Option<&'a Vec<Value>>, JsonError> {
        self.typed(key, "array", Value::as_array)
    }

    fn typed<T>(
        self,
        key: &str,
        wanted: &'static str,
        cast: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, JsonError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || JsonError::wrong_type(value, wanted).within(key);
        cast(value).ok_or_else(wrong).map(Some)
    }
}
