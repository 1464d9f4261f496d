//! The set of all paths in an object: what somebody who applies it claims.

use serde_json::Value;

use super::path::Element;
use super::set::Set;
use super::shape::{List, Shape};

/// All paths of `object`.
pub(super) fn paths(object: &Value, shape: Shape<'_>) -> Result<Set, String> {
    let mut collector = Collector { set: Set::default(), path: Vec::new() };
    collector.value(object, shape)?;
    Ok(collector.set)
}

struct Collector {
    set: Set,
    path: Vec<Element>,
}

impl Collector {
    fn value(&mut self, value: &Value, shape: Shape<'_>) -> Result<(), String> {
        match value {
            Value::Object(_) if shape.is_atomic() => self.claim(),
            Value::Array(_) if shape.list() == List::Atomic => self.claim(),
            Value::Object(map) => {
                for (key, value) in map {
                    self.field(key, value, shape)?;
                }
            }
            Value::Array(items) => return self.items(items, shape),
            // Whoever holds a null claims it where it is.
            Value::Null => {}
            _ => self.claim(),
        }
        Ok(())
    }

    fn claim(&mut self) {
        self.set.insert(&self.path);
    }

    fn field(&mut self, key: &str, value: &Value, shape: Shape<'_>) -> Result<(), String> {
        self.path.push(Element::field(key));
        self.value(value, shape.field(key))?;
        let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        if is_empty || !shape.names(key) {
            self.claim();
        }
        self.path.pop();
        Ok(())
    }

    fn items(&mut self, items: &[Value], shape: Shape<'_>) -> Result<(), String> {
        let elements = items.iter().map(|item| shape.element(item)).collect::<Result<Vec<_>, _>>()?;
        for (element, item) in elements.iter().zip(items) {
            let is_repeated = elements.iter().filter(|other| *other == element).count() > 1;
            self.path.push(element.clone());
            if !is_repeated {
                self.value(item, shape.items())?;
            }
            self.claim();
            self.path.pop();
        }
        Ok(())
    }
}
