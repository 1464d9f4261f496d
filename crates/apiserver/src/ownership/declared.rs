//! Whoever applies a field that the type does not have has mistyped it, and is told.

use serde_json::Value;

use super::path::{Element, shown};
use super::shape::{List, Shape};

/// Refuses `config` if it has fields that its type has not; the error names them all.
pub(super) fn check(config: &Value, shape: Shape<'_>) -> Result<(), String> {
    let mut found = Vec::new();
    visit(config, shape, &mut Vec::new(), &mut found);
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("errors:\n  {}", several.join("\n  "))),
    }
}

fn visit(value: &Value, shape: Shape<'_>, path: &mut Vec<Element>, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                path.push(Element::field(key));
                if shape.allows(key) {
                    visit(value, shape.field(key), path, found);
                } else {
                    found.push(format!("{}: field not declared in schema", shown(path)));
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(element(shape, index, item));
                visit(item, shape.items(), path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn element(shape: Shape<'_>, index: usize, item: &Value) -> Element {
    let place = Element::Index(i64::try_from(index).unwrap_or(i64::MAX));
    if shape.list() == List::Atomic { place } else { shape.element(item).unwrap_or(place) }
}
