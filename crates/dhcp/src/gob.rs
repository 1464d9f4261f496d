//! Go's gob encoding, as far as net/rpc needs it: structs of booleans, numbers, texts, bytes and lists
//! (the format is described at <https://pkg.go.dev/encoding/gob>).
//!
//! Fields are matched by name, so either side may know more of them than the other. What is read is bounded by the length of its
//! message, and nesting by [`DEEPEST`].

mod decode;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;

/// How deep values may be nested.
const DEEPEST: usize = 16;

/// Numbers of the types that both sides know (encoding/gob/type.go).
mod builtin {
    pub(super) const BOOL: i64 = 1;
    pub(super) const INT: i64 = 2;
    pub(super) const UINT: i64 = 3;
    pub(super) const FLOAT: i64 = 4;
    pub(super) const BYTES: i64 = 5;
    pub(super) const STRING: i64 = 6;
    pub(super) const COMPLEX: i64 = 7;
    /// The type of type descriptions.
    pub(super) const WIRE_TYPE: i64 = 16;
    /// The first number of other types.
    pub(super) const FIRST: i64 = 65;
}

/// The form of a value that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    Int,
    Uint,
    Bytes,
    Text,
    List(&'static Type),
    Struct(&'static Shape),
}

/// The form of a struct.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [(&'static str, Type)],
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Value>),
    Struct(Vec<(String, Value)>),
    /// A number that nobody here needs.
    Other,
}

impl Value {
    /// A struct.
    pub(crate) fn of<const N: usize>(fields: [(&str, Value); N]) -> Self {
        Self::Struct(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A field of a struct; zero values are not transmitted.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Struct(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A field that is text.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// A field that is bytes.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        match self.field(name) {
            Some(Self::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.field(name)? {
            Self::Uint(n) => Some(*n),
            Self::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A field that is a list.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        match self.field(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Bool(on) => !on,
            Self::Int(n) => *n == 0,
            Self::Uint(n) => *n == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Struct(_) | Self::Other => false,
        }
    }
}

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not in Go's gob encoding: {0}")]
pub(crate) struct GobError(pub(crate) &'static str);

#[cfg(test)]
mod tests;
