//! Takes paths out of an object.

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use super::shape::{List, Shape};

/// `object` without the paths in `doomed`.
pub(super) fn remove(object: &Value, doomed: &Set, shape: Shape<'_>) -> Value {
    if doomed.is_empty() {
        return object.clone();
    }
    without(object, doomed, shape).unwrap_or_else(|| Value::Object(Map::new()))
}

/// `None` if nothing is left.
fn without(value: &Value, doomed: &Set, shape: Shape<'_>) -> Option<Value> {
    match value {
        Value::Object(_) if shape.is_atomic() => None,
        Value::Array(_) if shape.list() == List::Atomic => None,
        Value::Object(map) => {
            let keep = |(key, value): (&String, &Value)| {
                let kept = step(&Element::field(key), value, doomed, shape)?;
                Some((key.clone(), kept))
            };
            let map: Map<String, Value> = map.iter().filter_map(keep).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::Array(items) => {
            let keep = |item: &Value| match shape.element(item) {
                Ok(element) => step(&element, item, doomed, shape),
                Err(_) => Some(item.clone()),
            };
            let items: Vec<Value> = items.iter().filter_map(keep).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        plain => Some(plain.clone()),
    }
}

fn step(element: &Element, value: &Value, doomed: &Set, shape: Shape<'_>) -> Option<Value> {
    if doomed.has_member(element) {
        return None;
    }
    match doomed.below(element) {
        Some(below) => without(value, below, shape.below(element)),
        None => Some(value.clone()),
    }
}
