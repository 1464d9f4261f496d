//! Steps of a path into an object, and how FieldsV1 writes and orders them.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// A plain value that identifies an element of a list. Numbers are equal where they are numerically.
#[derive(Debug, Clone)]
pub(crate) struct Scalar(pub(crate) Value);

impl Scalar {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Null => 3,
            Value::Array(_) | Value::Object(_) => 4,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
            },
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (a, b) => self.rank().cmp(&other.rank()).then_with(|| a.to_string().cmp(&b.to_string())),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

/// One step. The order is that of FieldsV1: names, keys, values, positions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A field of a map.
    Field(String),
    /// The element of a list whose key fields have these values; sorted by name.
    Key(Vec<(String, Scalar)>),
    /// The element of a set.
    Value(Scalar),
    /// The element at a position; read from old entries, never made.
    Index(i64),
}

impl Element {
    pub(crate) fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// As a member of a FieldsV1 object.
    pub(super) fn to_key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let map: Map<String, Value> = fields.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
                format!("k:{}", Value::Object(map))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// From a member of a FieldsV1 object; `None` for one of a kind that is not known.
    pub(super) fn from_key(key: &str) -> Option<Self> {
        let (kind, rest) = key.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "v" => serde_json::from_str(rest).ok().map(|value| Self::Value(Scalar(value))),
            "k" => {
                let map: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(map.into_iter().map(|(k, v)| (k, Scalar(v))).collect()))
            }
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

/// As conflicts name it: `.spec`, `[name="a"]`, `[="x"]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let pairs: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", v.0)).collect();
                write!(f, "[{}]", pairs.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A whole path as conflicts name it.
pub(crate) fn shown(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_survive_their_keys() {
        let port =
            vec![("containerPort".into(), Scalar(json!(80))), ("protocol".into(), Scalar(json!("TCP")))];
        for element in
            [Element::field("a"), Element::Key(port), Element::Value(Scalar(json!("x"))), Element::Index(2)]
        {
            assert_eq!(Element::from_key(&element.to_key()), Some(element));
        }
        assert_eq!(Element::from_key("x:1"), None);
        assert_eq!(Element::from_key("plain"), None);
    }

    #[test]
    fn paths_read_as_in_conflicts() {
        let name = Element::Key(vec![("name".into(), Scalar(json!("c")))]);
        let path = [Element::field("spec"), Element::field("containers"), name, Element::field("image")];
        assert_eq!(shown(&path), ".spec.containers[name=\"c\"].image");
        assert_eq!(shown(&[Element::Value(Scalar(json!("f")))]), "[=\"f\"]");
    }
}
