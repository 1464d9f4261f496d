//! Types of expressions, as the checker knows them before there is a value.

use std::fmt;

use crate::schema::{Kind, Node};

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type<'n> {
    /// Anything: checked when there is a value.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    List(Box<Type<'n>>),
    Map(Box<Type<'n>>, Box<Type<'n>>),
    Optional(Box<Type<'n>>),
    Quantity,
    Ip,
    Cidr,
    Url,
    Format,
    OfTypes,
    /// An object of a definition; whole ones have apiVersion, kind and metadata too.
    Object {
        node: &'n Node,
        whole: bool,
    },
    /// What metadata shows: the name.
    Metadata,
}

impl<'n> Type<'n> {
    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub(super) fn optional(of: Self) -> Self {
        Self::Optional(Box::new(of))
    }

    pub(super) fn map(keys: Self, values: Self) -> Self {
        Self::Map(Box::new(keys), Box::new(values))
    }

    /// The type of values that `node` describes; `None` for what expressions cannot see.
    pub(crate) fn of_node(node: &'n Node, whole: bool) -> Option<Self> {
        if node.is_int_or_string() {
            return Some(Self::Dyn);
        }
        let whole = whole || node.is_embedded_resource();
        match node.kind() {
            Kind::Any => None,
            Kind::Boolean => Some(Self::Bool),
            Kind::Integer => Some(Self::Int),
            Kind::Number => Some(Self::Double),
            Kind::String => Some(match node.format() {
                "byte" => Self::Bytes,
                "duration" => Self::Duration,
                "date" | "date-time" | "datetime" => Self::Timestamp,
                _ => Self::Text,
            }),
            Kind::Array => Some(Self::list(Self::of_node(node.items()?, false)?)),
            Kind::Object => match node.values() {
                Some(values) => Some(Self::map(Self::Text, Self::of_node(values, false)?)),
                None => Some(Self::Object { node, whole }),
            },
        }
    }

    /// The type of a field, by its name in expressions; `Err` if there is none.
    pub(super) fn field(&self, name: &str) -> Result<Self, ()> {
        match self {
            Self::Dyn => Ok(Self::Dyn),
            Self::Map(_, values) => Ok((**values).clone()),
            Self::Optional(inner) => Ok(Self::optional(inner.field(name)?)),
            Self::Metadata if ["name", "generateName"].contains(&name) => Ok(Self::Text),
            Self::Object { node, whole } => match name {
                "apiVersion" | "kind" if *whole => Ok(Self::Text),
                "metadata" if *whole => Ok(Self::Metadata),
                _ => {
                    let found =
                        node.properties().find(|(property, _)| escape(property).as_deref() == Some(name));
                    found.and_then(|(_, node)| Self::of_node(node, false)).ok_or(())
                }
            },
            _ => Err(()),
        }
    }

    /// True if a value of one type may stand where the other is expected.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::Null, Self::Object { .. } | Self::Duration | Self::Timestamp | Self::Optional(_)) => true,
            (Self::Object { .. } | Self::Duration | Self::Timestamp | Self::Optional(_), Self::Null) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.fits(b),
            (Self::Map(k, v), Self::Map(l, w)) => k.fits(l) && v.fits(w),
            (Self::Object { node: a, .. }, Self::Object { node: b, .. }) => std::ptr::eq(*a, *b),
            (a, b) => a == b,
        }
    }

    /// The type of values that may be of either.
    pub(super) fn joined(self, other: &Self) -> Self {
        match (&self, other) {
            (Self::Dyn, other) => other.clone(),
            (Self::Null, other) if other.fits(&Self::Null) => other.clone(),
            (Self::List(a), Self::List(b)) if **a == Self::Dyn => Self::List(b.clone()),
            (mine, other) if mine.fits(other) => self,
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("google.protobuf.Duration"),
            Self::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Quantity => f.write_str("kubernetes.Quantity"),
            Self::Ip => f.write_str("net.IP"),
            Self::Cidr => f.write_str("net.CIDR"),
            Self::Url => f.write_str("kubernetes.URL"),
            Self::Format => f.write_str("kubernetes.NamedFormat"),
            Self::OfTypes => f.write_str("type"),
            Self::Object { .. } => f.write_str("object"),
            Self::Metadata => f.write_str("objectMeta"),
        }
    }
}

const RESERVED: [&str; 20] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
];

/// The name by which expressions know the field `name`; `None` if it has none.
pub(super) fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) || name == "while" {
        return Some(format!("__{name}__"));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__") {
            escaped.push_str("__underscores__");
            rest = after;
            continue;
        }
        match c {
            '.' => escaped.push_str("__dot__"),
            '-' => escaped.push_str("__dash__"),
            '/' => escaped.push_str("__slash__"),
            c if c == '_' || c.is_ascii_alphanumeric() => escaped.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(escaped)
}
