//! What became different between two objects, as three sets of paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use super::shape::{List, Shape};

/// The difference of two objects.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: Set,
    pub(super) modified: Set,
    pub(super) added: Set,
}

impl Comparison {
    /// Leaves out `reset` and everything below.
    pub(super) fn without(self, reset: &Set) -> Self {
        if reset.is_empty() {
            return self;
        }
        Self {
            removed: self.removed.without(reset),
            modified: self.modified.without(reset),
            added: self.added.without(reset),
        }
    }
}

/// Compares `old` and `new`.
pub(super) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Result<Comparison, String> {
    let mut walk = Walk { found: Comparison::default(), path: Vec::new() };
    walk.value(Some(old), Some(new), shape)?;
    Ok(walk.found)
}

struct Walk {
    found: Comparison,
    path: Vec<Element>,
}

type Side<'v> = Option<&'v Value>;

impl Walk {
    fn value(&mut self, old: Side<'_>, new: Side<'_>, shape: Shape<'_>) -> Result<(), String> {
        let either = |is: fn(&Value) -> bool| old.is_some_and(is) || new.is_some_and(is);
        if either(Value::is_object) {
            return self.maps(old, new, shape);
        }
        if either(Value::is_array) {
            return self.lists(old, new, shape);
        }
        self.leaf(old, new);
        Ok(())
    }

    fn leaf(&mut self, old: Side<'_>, new: Side<'_>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (old, new) if old != new => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn came_or_went(&mut self, old: Side<'_>, new: Side<'_>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ => {}
        }
    }

    fn maps(&mut self, old: Side<'_>, new: Side<'_>, shape: Shape<'_>) -> Result<(), String> {
        let none = Map::new();
        let before = old.and_then(Value::as_object).unwrap_or(&none);
        let after = new.and_then(Value::as_object).unwrap_or(&none);
        if shape.is_atomic() || (before.is_empty() && after.is_empty()) {
            self.leaf(old, new);
            return Ok(());
        }
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            self.path.push(Element::field(key));
            self.value(before.get(key), after.get(key), shape.field(key))?;
            self.path.pop();
        }
        self.came_or_went(old, new);
        Ok(())
    }

    fn lists(&mut self, old: Side<'_>, new: Side<'_>, shape: Shape<'_>) -> Result<(), String> {
        let is_empty = |side: Side<'_>| side.and_then(Value::as_array).is_none_or(Vec::is_empty);
        if shape.list() == List::Atomic || (is_empty(old) && is_empty(new)) {
            self.leaf(old, new);
            return Ok(());
        }
        let (before, after) = (grouped(old, shape)?, grouped(new, shape)?);
        let elements: BTreeSet<&Element> = before.keys().chain(after.keys()).collect();
        for element in elements {
            let old = before.get(element).map(Vec::as_slice).unwrap_or_default();
            let new = after.get(element).map(Vec::as_slice).unwrap_or_default();
            self.path.push(element.clone());
            if old.len().max(new.len()) > 1 {
                self.repeated(old, new, shape.items())?;
            } else {
                self.value(old.first().copied(), new.first().copied(), shape.items())?;
            }
            self.path.pop();
        }
        self.came_or_went(old, new);
        Ok(())
    }

    /// Elements of which several share an identity are one thing on that side.
    fn repeated(&mut self, old: &[&Value], new: &[&Value], shape: Shape<'_>) -> Result<(), String> {
        match (old, new) {
            ([_, _, ..], [_, _, ..]) if old == new => {}
            ([_, _, ..], [_, _, ..]) => self.found.modified.insert(&self.path),
            ([_, _, ..], _) => {
                if let Some(new) = new.first() {
                    self.value(None, Some(new), shape)?;
                }
                self.found.removed.insert(&self.path);
            }
            _ => {
                if let Some(old) = old.first() {
                    self.value(Some(old), None, shape)?;
                }
                self.found.added.insert(&self.path);
            }
        }
        Ok(())
    }
}

type Groups<'v> = BTreeMap<Element, Vec<&'v Value>>;

fn grouped<'v>(list: Side<'v>, shape: Shape<'_>) -> Result<Groups<'v>, String> {
    let mut groups = Groups::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        groups.entry(shape.element(item)?).or_default().push(item);
    }
    Ok(groups)
}
