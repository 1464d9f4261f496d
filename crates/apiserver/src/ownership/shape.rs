//! What a schema says about ownership: which lists are sets or maps, which maps are owned as a whole.

use serde_json::Value;

use super::path::{Element, Scalar};
use crate::schema::{Field, ListType, MapType, Node};

/// How the elements of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List<'s> {
    /// Not at all: the list has one owner.
    Atomic,
    /// By their values.
    Set,
    /// By the values of these fields.
    Map(&'s [String]),
}

/// The type of one value, or that nothing is known about it. What is not known is owned field by field, lists as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'s>(Option<&'s Node>);

impl<'s> Shape<'s> {
    pub(crate) fn of(model: Option<&'s Node>) -> Self {
        Self(model)
    }

    /// True if the type names the field `name`, as opposed to allowing any.
    pub(crate) fn names(self, name: &str) -> bool {
        self.0.is_some_and(|node| node.property(name).is_some())
    }

    /// The shape of the field `name`.
    pub(crate) fn field(self, name: &str) -> Self {
        match self.0.map(|node| node.field(name)) {
            Some(Field::Known(node)) => Self(Some(node)),
            _ => Self(None),
        }
    }

    /// False if the type has no such field.
    pub(crate) fn allows(self, name: &str) -> bool {
        self.0.is_none_or(|node| node.field(name) != Field::Unknown)
    }

    /// The shape of the elements.
    pub(crate) fn items(self) -> Self {
        Self(self.0.and_then(Node::items))
    }

    /// The shape of what is below `element`.
    pub(crate) fn below(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.field(name),
            _ => self.items(),
        }
    }

    /// True for a map that has one owner. What is kept for others without being looked into is one.
    pub(crate) fn is_atomic(self) -> bool {
        let is_raw = |node: &Node| node.reference().is_some_and(|kind| kind.short_name() == "RawExtension");
        self.0.is_some_and(|node| node.map_type() == Some(MapType::Atomic) || is_raw(node))
    }

    pub(crate) fn list(self) -> List<'s> {
        match self.0.and_then(Node::list_type) {
            Some(ListType::Set) => List::Set,
            Some(ListType::Map(keys)) => List::Map(keys),
            Some(ListType::Atomic) | None => List::Atomic,
        }
    }

    /// What identifies `item` in this list, which is no atomic one; the error is for people.
    pub(crate) fn element(self, item: &Value) -> Result<Element, String> {
        match self.list() {
            List::Map(keys) => self.key_of(keys, item),
            _ if item.is_object() => {
                Err("associative list without keys has an element that's a map type".into())
            }
            _ if item.is_array() => Err("not supported: associative list with lists as elements".into()),
            _ if item.is_null() => {
                Err("associative list without keys has an element that's an explicit null".into())
            }
            _ => Ok(Element::Value(Scalar(item.clone()))),
        }
    }

    fn key_of(self, keys: &[String], item: &Value) -> Result<Element, String> {
        if item.is_null() {
            return Err("associative list with keys may not have a null element".into());
        }
        let Some(map) = item.as_object() else {
            return Err("associative list with keys may not have non-map elements".into());
        };
        let mut fields = Vec::with_capacity(keys.len());
        for key in keys {
            let default = || self.items().field(key).0.and_then(Node::default_value);
            if let Some(value) = map.get(key).or_else(default) {
                fields.push((key.clone(), Scalar(value.clone())));
            }
        }
        if fields.is_empty() {
            let names: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        fields.sort();
        Ok(Element::Key(fields))
    }
}
