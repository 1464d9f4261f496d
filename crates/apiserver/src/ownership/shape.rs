//! What a schema says about ownership: which lists are sets or maps, which maps are owned as a whole.

use serde_json::Value;

use super::path::{Element, Scalar};

/// How the elements of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List<'s> {
    /// Not at all: the list has one owner.
    Atomic,
    /// By their values.
    Set,
    /// By the values of these fields.
    Map(&'s [Value]),
}

/// The schema of one value, or that nothing is known about it. What is not known is owned field by field, lists as a
/// whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'s>(Option<&'s Value>);

impl<'s> Shape<'s> {
    /// By an OpenAPI schema without references.
    pub(crate) fn of(schema: Option<&'s Value>) -> Self {
        Self(schema)
    }

    fn get(self, key: &str) -> Option<&'s Value> {
        self.0.and_then(|schema| schema.get(key))
    }

    fn is(self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|found| found == value)
    }

    /// True if the schema names the field `name`, as opposed to allowing any.
    pub(crate) fn names(self, name: &str) -> bool {
        self.get("properties").is_some_and(|properties| properties.get(name).is_some())
    }

    /// The shape of the field `name`.
    pub(crate) fn field(self, name: &str) -> Self {
        let named = self.get("properties").and_then(|properties| properties.get(name));
        Self(named.or_else(|| self.get("additionalProperties").filter(|schema| schema.is_object())))
    }

    /// The shape of the elements.
    pub(crate) fn items(self) -> Self {
        Self(self.get("items"))
    }

    /// The shape of what is below `element`.
    pub(crate) fn below(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.field(name),
            _ => self.items(),
        }
    }

    /// True for a map that has one owner.
    pub(crate) fn is_atomic(self) -> bool {
        self.is("x-kubernetes-map-type", "atomic")
    }

    /// True if a field that is not named is a mistake.
    pub(crate) fn is_closed(self) -> bool {
        self.get("properties").is_some()
            && self.get("additionalProperties").is_none()
            && self.get("x-kubernetes-preserve-unknown-fields").is_none_or(|open| open != true)
    }

    pub(crate) fn list(self) -> List<'s> {
        if self.is("x-kubernetes-list-type", "set") {
            return List::Set;
        }
        let keys = self.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        match keys {
            Some(keys) if self.is("x-kubernetes-list-type", "map") => List::Map(keys),
            _ => List::Atomic,
        }
    }

    /// What identifies `item` in this list, which is no atomic one; the error is for people.
    pub(crate) fn element(self, item: &Value) -> Result<Element, String> {
        match self.list() {
            List::Map(keys) => self.key_of(keys, item),
            _ if item.is_object() => Err("associative list without keys has an element that's a map type".into()),
            _ if item.is_array() => Err("not supported: associative list with lists as elements".into()),
            _ if item.is_null() => {
                Err("associative list without keys has an element that's an explicit null".into())
            }
            _ => Ok(Element::Value(Scalar(item.clone()))),
        }
    }

    fn key_of(self, keys: &[Value], item: &Value) -> Result<Element, String> {
        if item.is_null() {
            return Err("associative list with keys may not have a null element".into());
        }
        let Some(map) = item.as_object() else {
            return Err("associative list with keys may not have non-map elements".into());
        };
        let mut fields = Vec::with_capacity(keys.len());
        for key in keys.iter().filter_map(Value::as_str) {
            let default = || self.items().field(key).get("default").filter(|value| !value.is_null());
            if let Some(value) = map.get(key).or_else(default) {
                fields.push((key.to_owned(), Scalar(value.clone())));
            }
        }
        if fields.is_empty() {
            let names: Vec<String> = keys.iter().map(Value::to_string).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        fields.sort();
        Ok(Element::Key(fields))
    }
}
