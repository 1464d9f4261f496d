//! A serde deserializer over a parsed value that follows Go's rules: keys in any case, `null` as the
//! default, integers without fraction, and errors that name the field.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::{JsonMap, go_kind};

/// Why a text or value could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    path: String,
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Syntax(String),
    WrongType { found: String, wanted: &'static str },
    Other(String),
}

impl JsonError {
    pub(super) fn syntax(error: serde_json::Error) -> JsonError {
        JsonError { path: String::new(), cause: Cause::Syntax(error.to_string()) }
    }

    /// A value of another type than wanted; `wanted` is Go's name of the type.
    pub fn wrong_type(found: &Value, wanted: &'static str) -> JsonError {
        let found = match found {
            Value::Number(number) if matches!(wanted, "int" | "float64") => format!("number {number}"),
            other => go_kind(other).to_owned(),
        };
        JsonError { path: String::new(), cause: Cause::WrongType { found, wanted } }
    }

    /// The same error, seen from the object that holds `field`.
    pub fn within(mut self, field: &str) -> JsonError {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.cause {
            Cause::Syntax(text) => f.write_str(text),
            Cause::WrongType { found, wanted } if path.is_empty() => {
                write!(f, "json: cannot unmarshal {found} into Go value of type {wanted}")
            }
            Cause::WrongType { found, wanted } => {
                write!(f, "json: cannot unmarshal {found} into Go struct field {path} of type {wanted}")
            }
            Cause::Other(text) if path.is_empty() => f.write_str(text),
            Cause::Other(text) => write!(f, "{path}: {text}"),
        }
    }
}

impl std::error::Error for JsonError {}

impl de::Error for JsonError {
    fn custom<T: fmt::Display>(text: T) -> JsonError {
        JsonError { path: String::new(), cause: Cause::Other(text.to_string()) }
    }
}

/// A value to be decoded by Go's rules.
#[derive(Clone, Copy)]
pub(super) struct GoValue<'de>(pub &'de Value);

/// An object to be decoded by Go's rules.
#[derive(Clone, Copy)]
pub(super) struct GoObject<'de>(pub &'de JsonMap);

impl<'de> IntoDeserializer<'de, JsonError> for GoValue<'de> {
    type Deserializer = GoValue<'de>;

    fn into_deserializer(self) -> GoValue<'de> {
        self
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            self.integer(visitor)
        }
    )*};
}

impl<'de> GoValue<'de> {
    fn wrong<T>(self, wanted: &'static str) -> Result<T, JsonError> {
        Err(JsonError::wrong_type(self.0, wanted))
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let Value::Number(number) = self.0 else {
            return if self.0.is_null() { visitor.visit_u64(0) } else { self.wrong("int") };
        };
        let visited = match (number.as_u64(), number.as_i64()) {
            (Some(natural), _) => visitor.visit_u64(natural),
            (None, Some(integer)) => visitor.visit_i64(integer),
            (None, None) => return self.wrong("int"),
        };
        // The visitor refuses what does not fit its width; Go words that as a wrong type.
        visited.or_else(|_: JsonError| self.wrong("int"))
    }
}

impl<'de> Deserializer<'de> for GoValue<'de> {
    type Error = JsonError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Null => visitor.visit_bool(false),
            _ => self.wrong("bool"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0.as_f64() {
            Some(value) => visitor.visit_f64(value),
            None if self.0.is_null() => visitor.visit_f64(0.0),
            None => self.wrong("float64"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Null => visitor.visit_borrowed_str(""),
            _ => self.wrong("string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(GoValue))),
            Value::Null => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<GoValue<'_>>())),
            _ => self.wrong("array"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Object(map) => GoObject(map).deserialize_map(visitor),
            Value::Null => visitor.visit_map(Fields::none()),
            _ => self.wrong("map"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Object(map) => GoObject(map).deserialize_struct(name, fields, visitor),
            Value::Null => visitor.visit_map(Fields::none()),
            _ => self.wrong("object"),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let Value::String(text) = self.0 else { return self.wrong("string") };
        let text: StrDeserializer<'_, JsonError> = text.as_str().into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl<'de> Deserializer<'de> for GoObject<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let entries = self.0.iter().map(|(key, value)| (key.as_str(), GoValue(value)));
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let find = |field: &&'static str| super::get_ci(self.0, field).map(|value| (*field, value));
        let found: Vec<(&'static str, &'de Value)> = fields.iter().filter_map(find).collect();
        visitor.visit_map(Fields { rest: found.into_iter(), value: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The known fields of a struct that the object has, under the struct's own spelling.
struct Fields<'de> {
    rest: std::vec::IntoIter<(&'static str, &'de Value)>,
    value: Option<(&'static str, &'de Value)>,
}

impl Fields<'_> {
    fn none() -> Self {
        Fields { rest: Vec::new().into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        self.value = self.rest.next();
        let Some((field, _)) = self.value else { return Ok(None) };
        let field: StrDeserializer<'_, JsonError> = field.into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        let Some((field, value)) = self.value.take() else {
            return Err(de::Error::custom("value asked for before its key"));
        };
        seed.deserialize(GoValue(value)).map_err(|error| error.within(field))
    }
}
