//! One pass over a JSON text with the type at hand: duplicates, unknown fields and wrong types are noticed where they stand.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::quantity::Quantity;
use crate::resource::Resource;
use crate::schema::{Field, Kind, Node};

/// What was noticed so far.
#[derive(Default)]
pub(super) struct Walk {
    noticed: RefCell<Noticed>,
    /// Wrong types are errors of decoding; for custom kinds they are findings of validation.
    checks_types: bool,
}

#[derive(Default)]
struct Noticed {
    complaints: Vec<String>,
    error: Option<String>,
}

impl Walk {
    pub(super) fn of(resource: &Resource) -> Self {
        Self { checks_types: !resource.custom, ..Self::default() }
    }

    pub(super) fn root<'w>(&'w self, resource: &'w Resource) -> Seed<'w> {
        let node = resource.model();
        Seed { walk: self, node, owner: &resource.kind, path: String::new(), fields: String::new() }
    }

    /// Complaints, and the first wrong type.
    pub(super) fn outcome(self) -> (Vec<String>, Option<String>) {
        let noticed = self.noticed.into_inner();
        (noticed.complaints, noticed.error)
    }
}

/// One value's place.
pub(super) struct Seed<'w> {
    walk: &'w Walk,
    node: Option<&'w Node>,
    /// The type whose field this is, as the real server's errors name it.
    owner: &'w str,
    /// Where it is, with indices.
    path: String,
    /// Where it is, without.
    fields: String,
}

impl<'w> Seed<'w> {
    fn below(&self, node: Option<&'w Node>, key: &str) -> Self {
        let join = |path: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let is_map = self.node.is_some_and(|node| node.values().is_some());
        // An element of a map is told by the map's own name.
        let fields = if is_map { self.fields.clone() } else { join(&self.fields) };
        let owner = match self.node.and_then(Node::reference) {
            Some(definition) => definition.short_name(),
            None => self.owner,
        };
        Self { walk: self.walk, node, owner, path: join(&self.path), fields }
    }

    fn element(&self, index: usize) -> Self {
        Self {
            walk: self.walk,
            node: self.node.and_then(Node::items),
            owner: self.owner,
            path: format!("{}[{index}]", self.path),
            fields: self.fields.clone(),
        }
    }

    fn complain(&self, what: &str, key: &str) {
        let dot = if self.path.is_empty() { "" } else { "." };
        let mut noticed = self.walk.noticed.borrow_mut();
        noticed.complaints.push(format!("{what} field \"{}{dot}{key}\"", self.path));
    }

    fn fail(&self, error: String) {
        let mut noticed = self.walk.noticed.borrow_mut();
        if self.walk.checks_types && noticed.error.is_none() {
            noticed.error = Some(error);
        }
    }

    /// Notices if a value of this sort (as the real server's errors say it) is none of the type.
    fn expect(&self, fits: impl Fn(&Node) -> bool, found: &str) {
        let Some(node) = self.node.filter(|node| node.kind() != Kind::Any || node.is_int_or_string()) else {
            return;
        };
        if !fits(node) {
            let (owner, fields) = (self.owner, &self.fields);
            let wanted = type_name(node);
            self.fail(format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{fields} of type {wanted}"
            ));
        }
    }

    fn quantity(&self, text: &str) -> Option<Value> {
        if !self.node.is_some_and(is_quantity) {
            return None;
        }
        match Quantity::parse(text) {
            Some(quantity) => Some(Value::from(quantity.to_string())),
            None => {
                let rule = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                self.fail(rule.to_owned());
                None
            }
        }
    }

    fn number(&self, number: Number) -> Value {
        if let Some(quantity) = self.quantity(&number.to_string()) {
            return quantity;
        }
        let found = format!("number {number}");
        match number.as_i64() {
            Some(value) => {
                let found = if self.node.is_some_and(is_number) { found } else { "number".to_owned() };
                self.expect(|node| takes_integer(node, value), &found);
            }
            None => {
                let found = if self.node.is_some_and(is_number) { found } else { "number".to_owned() };
                self.expect(|node| node.kind() == Kind::Number, &found);
            }
        }
        Value::Number(number)
    }
}

fn is_quantity(node: &Node) -> bool {
    node.reference().is_some_and(|definition| definition.short_name() == "Quantity")
}

fn is_number(node: &Node) -> bool {
    matches!(node.kind(), Kind::Integer | Kind::Number) || node.is_int_or_string()
}

fn takes_integer(node: &Node, value: i64) -> bool {
    let fits = node.format() != "int32" || i32::try_from(value).is_ok();
    match node.kind() {
        Kind::Integer => fits,
        Kind::Number => true,
        _ => node.is_int_or_string() && i32::try_from(value).is_ok(),
    }
}

/// The type as the real server's errors name it.
fn type_name(node: &Node) -> String {
    if node.is_int_or_string() {
        return "int32".into();
    }
    let of = |node: Option<&Node>| node.map_or_else(|| "interface {}".to_owned(), type_name);
    match (node.kind(), node.reference()) {
        (Kind::Object, Some(definition)) => definition.go_name().into(),
        (Kind::Object, None) => format!("map[string]{}", of(node.values())),
        (Kind::Array, _) => format!("[]{}", of(node.items())),
        (Kind::Boolean, _) => "bool".into(),
        (Kind::Number, _) => "float64".into(),
        (Kind::Integer, _) if node.format().is_empty() => "int".into(),
        (Kind::Integer, _) => node.format().into(),
        _ => "string".into(),
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        if self.node.is_some_and(is_quantity) {
            self.quantity("true");
        }
        self.expect(|node| node.kind() == Kind::Boolean, "bool");
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, |number| self.number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        if let Some(quantity) = self.quantity(value) {
            return Ok(quantity);
        }
        self.expect(|node| node.kind() == Kind::String || node.is_int_or_string(), "string");
        match self.node.map(|node| super::form::text(node, value)) {
            Some(Err(error)) => self.fail(error),
            Some(Ok(Some(text))) => return Ok(Value::String(text)),
            _ => {}
        }
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.expect(|node| node.kind() == Kind::Array, "array");
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self.element(list.len()))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.expect(|node| node.kind() == Kind::Object, "object");
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let node = match self.node.map(|node| node.field(&key)) {
                Some(Field::Known(node)) => Some(node),
                Some(Field::Unknown) => {
                    self.complain("unknown", &key);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Some(Field::Free) | None => None,
            };
            if object.contains_key(&key) {
                self.complain("duplicate", &key);
            }
            let value = map.next_value_seed(self.below(node, &key))?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
