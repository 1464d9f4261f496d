//! What a definition says about the objects of one version, ready for use: pruning, defaults, validation. Pure.

use serde_json::Value;

use super::rules::Rules;
use super::scale::Scale;
use super::{defaults, embedded, lists, prune, validate};
use crate::schema::Node;
use crate::status::Cause;

/// Reasons after which expressions are not evaluated: they may rely on what is not there.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

/// The type of the objects and everything that is checked about them.
#[derive(Debug)]
pub struct Shape {
    node: Node,
    has_defaults: bool,
    rules: Rules,
    pub(crate) scale: Option<Scale>,
}

/// An update as validation sees it, or a create if there is no old object.
#[derive(Clone, Copy)]
pub(crate) struct Change<'v> {
    pub(crate) new: &'v Value,
    pub(crate) old: Option<&'v Value>,
}

impl Shape {
    /// From an element of a definition's `versions`.
    pub(crate) fn read(version: &Value) -> Self {
        let node = Node::parse(&version["schema"]["openAPIV3Schema"]);
        let rules = Rules::of(&node, true);
        Self {
            has_defaults: has_defaults(&node),
            rules,
            node,
            scale: Scale::read(&version["subresources"]["scale"]),
        }
    }

    /// True if objects that were stored earlier may lack what they have when they are read.
    pub(crate) fn has_defaults(&self) -> bool {
        self.has_defaults
    }

    /// Makes of what a client sent what is stored: unknown fields go (their paths are the answer), defaults come.
    pub(crate) fn settle(&self, object: &mut Value) -> Vec<String> {
        let unknown = prune::prune(object, &self.node);
        whole_numbers(object);
        self.fill(object);
        unknown
    }

    /// Fills in defaults.
    pub(crate) fn fill(&self, object: &mut Value) {
        defaults::remove_nulls(object, Some(&self.node));
        defaults::fill(object, &self.node);
    }

    /// What is wrong with an object, or with a change of it.
    pub(crate) fn validate(&self, change: Change<'_>) -> Vec<Cause> {
        let mut causes = validate::validate(change.new, &self.node, change.old, "");
        if let Some(scale) = &self.scale {
            causes.extend(scale.validate_spec(change.new));
            causes.extend(scale.validate_status(change.new));
        }
        causes.extend(embedded::validate(change.new, &self.node));
        causes.extend(self.lists(change));
        self.with_expressions(change, causes)
    }

    /// The same for a change of status.
    pub(crate) fn validate_status(&self, change: Change<'_>) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let (Some(status), Some(node)) = (change.new.get("status"), self.node.property("status")) {
            let old = change.old.and_then(|old| old.get("status"));
            causes.extend(validate::validate(status, node, old, "status"));
        }
        causes.extend(self.scale.iter().flat_map(|scale| scale.validate_status(change.new)));
        causes.extend(self.lists(change));
        self.with_expressions(change, causes)
    }

    /// Lists that were wrong before may stay so.
    fn lists(&self, change: Change<'_>) -> Vec<Cause> {
        let was_wrong = change.old.is_some_and(|old| !lists::validate(old, &self.node, "").is_empty());
        if was_wrong { Vec::new() } else { lists::validate(change.new, &self.node, "") }
    }

    fn with_expressions(&self, change: Change<'_>, mut causes: Vec<Cause>) -> Vec<Cause> {
        if self.rules.is_empty() {
            return causes;
        }
        if causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            causes.push(Cause::invalid_value("<nil>", &Value::Null, detail));
        } else {
            causes.extend(self.rules.validate(change, &self.node));
        }
        causes
    }
}

/// `1.0` is written as `1`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            #[allow(clippy::cast_possible_truncation, reason = "the bounds are checked")]
            let whole = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64);
            if let Some(whole) = whole {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn has_defaults(node: &Node) -> bool {
    node.default_value().is_some()
        || node.properties().any(|(_, property)| has_defaults(property))
        || node.items().is_some_and(has_defaults)
        || node.values().is_some_and(has_defaults)
}

/// What is wrong with a default of a field of the type `node`, which is at `path`.
pub(crate) fn check_default(default: &Value, node: &Node, path: &str) -> Vec<Cause> {
    let mut pruned = default.clone();
    prune::prune_part(&mut pruned, node);
    if pruned != *default {
        return vec![Cause::invalid_value(path, default, "must not have unknown fields")];
    }
    validate::validate(default, node, None, path)
}
