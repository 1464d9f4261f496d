//! `x-kubernetes-validations`: rules in CEL, compiled once for a definition and asked about every object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::correlate;
use super::shape::Change;
use crate::cel::{self, Budget, EvalError, Program, Type, Variable};
use crate::go;
use crate::json::text;
use crate::schema::{Kind, Node};
use crate::status::Cause;

/// Bytes that a message from an expression may have.
const LONGEST_MESSAGE: usize = 5120;

/// The rules of a type and of what is in it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    here: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    values: Option<Box<Rules>>,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    program: Program,
    /// How errors name the rule: its message, or itself.
    name: String,
    message: String,
    message_program: Option<Program>,
    reason: String,
    field_path: String,
    optional_old: bool,
}

/// The variables of rules about values of the type `node`.
pub(crate) fn variables(node: &Node, whole: bool, optional_old: bool) -> Option<[Variable<'_>; 2]> {
    let kind = Type::of_node(node, whole)?;
    let old = if optional_old { Type::Optional(Box::new(kind.clone())) } else { kind.clone() };
    Some([Variable { name: "self", kind }, Variable { name: "oldSelf", kind: old }])
}

impl Rules {
    /// Compiles the rules of `node`; those that do not compile were refused with their definition.
    pub(super) fn of(node: &Node, whole: bool) -> Self {
        let written = node.rules().map(|rules| rules.validations.as_slice()).unwrap_or_default();
        let below = |node: &Node| Some(Box::new(Self::of(node, false))).filter(|rules| !rules.is_empty());
        let properties = node.properties().map(|(name, node)| (name.to_owned(), Self::of(node, false)));
        Self {
            here: written.iter().filter_map(|rule| Rule::read(rule, node, whole)).collect(),
            properties: properties.filter(|(_, rules)| !rules.is_empty()).collect(),
            items: node.items().and_then(below),
            values: node.values().and_then(below),
        }
    }

    /// True without any rule, here or below.
    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.properties.is_empty() && self.items.is_none() && self.values.is_none()
    }

    /// What breaks the rules.
    pub(super) fn validate(&self, change: Change<'_>, node: &Node) -> Vec<Cause> {
        let mut walk = Walk { causes: Vec::new(), budget: Budget::for_object(), stopped: false };
        let place = Place { path: String::new(), whole: true, parent_unchanged: false };
        walk.value(self, node, (change.new, change.old), place);
        walk.causes
    }
}

impl Rule {
    fn read(rule: &Value, node: &Node, whole: bool) -> Option<Self> {
        let optional_old = rule["optionalOldSelf"] == true;
        let variables = variables(node, whole, optional_old)?;
        let source = text(rule, "rule").trim();
        let message = text(rule, "message").trim();
        let message_source = text(rule, "messageExpression");
        let compiled = |source: &str| cel::compile(source, &variables).ok().map(|(program, _)| program);
        Some(Self {
            program: compiled(text(rule, "rule"))?,
            name: if message.is_empty() { source } else { message }.to_owned(),
            message: if message.is_empty() { format!("failed rule: {source}") } else { message.to_owned() },
            message_program: Some(message_source).filter(|source| !source.is_empty()).and_then(compiled),
            reason: text(rule, "reason").into(),
            field_path: normalised(text(rule, "fieldPath")),
            optional_old,
        })
    }

    fn uses_old(&self) -> bool {
        self.program.mentions("oldSelf")
    }
}

/// `.spec.list['key']` as errors write it: `spec.list[key]`.
fn normalised(path: &str) -> String {
    path.trim().trim_start_matches('.').replace("['", "[").replace("']", "]")
}

/// Where a value is, and whether anything around it changed.
struct Place {
    path: String,
    whole: bool,
    parent_unchanged: bool,
}

struct Walk {
    causes: Vec<Cause>,
    budget: Budget,
    /// True once the budget is used up: nothing else is asked.
    stopped: bool,
}

type Pair<'v> = (&'v Value, Option<&'v Value>);

impl Walk {
    fn value(&mut self, rules: &Rules, node: &Node, (new, old): Pair<'_>, place: Place) {
        if new.is_null() || self.stopped {
            return;
        }
        let unchanged = old.map_or(place.parent_unchanged, |old| old == new);
        self.here(rules, node, (new, old), (&place, unchanged));
        match new {
            Value::Array(elements) => {
                let (Some(rules), Some(element)) = (&rules.items, node.items()) else { return };
                for (n, item) in elements.iter().enumerate() {
                    let old = correlate::element(old, node, item);
                    let path = format!("{}[{n}]", place.path);
                    self.value(
                        rules,
                        element,
                        (item, old),
                        Place { path, whole: false, parent_unchanged: unchanged },
                    );
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    let old = correlate::field(old, key);
                    if let (Some(rules), Some(property)) = (rules.properties.get(key), node.property(key)) {
                        let path = join(&place.path, key);
                        self.value(
                            rules,
                            property,
                            (value, old),
                            Place { path, whole: false, parent_unchanged: unchanged },
                        );
                    } else if let (Some(rules), Some(values), None) =
                        (&rules.values, node.values(), node.property(key))
                    {
                        let path = format!("{}[{key}]", place.path);
                        self.value(
                            rules,
                            values,
                            (value, old),
                            Place { path, whole: false, parent_unchanged: unchanged },
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn here(&mut self, rules: &Rules, node: &Node, (new, old): Pair<'_>, (place, unchanged): (&Place, bool)) {
        if rules.here.is_empty() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        let current = cel::of_node(new, node, place.whole);
        let before = old.map(|old| cel::of_node(old, node, place.whole));
        for rule in &rules.here {
            if self.stopped || (rule.uses_old() && old.is_none() && !rule.optional_old) {
                continue;
            }
            let old_value = match (rule.optional_old, &before) {
                (true, before) => cel::Value::Optional(before.clone().map(std::rc::Rc::new)),
                (false, before) => before.clone().unwrap_or(cel::Value::Null),
            };
            let variables = [("self", current.clone()), ("oldSelf", old_value)];
            let cause = self.ask(rule, &variables, (node, new), &place.path);
            // What did not change is not held against the client, unless the rule is about the change.
            let forgiven = unchanged && !rule.uses_old();
            self.causes.extend(cause.filter(|_| !forgiven));
        }
    }

    fn ask(
        &mut self,
        rule: &Rule,
        variables: &[(&str, cel::Value)],
        (node, new): (&Node, &Value),
        path: &str,
    ) -> Option<Cause> {
        let kind = serde_json::json!(kind_name(node));
        if self.budget.is_used_up() {
            self.stopped = true;
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            return Some(Cause::invalid_value(path, &kind, detail));
        }
        match rule.program.evaluate(variables, &mut self.budget) {
            Ok(cel::Value::Bool(true)) => None,
            Ok(_) => {
                let detail = self.message(rule, variables);
                let field =
                    if rule.field_path.is_empty() { path.to_owned() } else { join(path, &rule.field_path) };
                Some(broken(&rule.reason, field, shown(node, new), &detail))
            }
            Err(error) => {
                self.stopped = error.exhausted;
                Some(Cause::invalid_value(path, &kind, &failure(&error, &rule.name)))
            }
        }
    }

    fn message(&mut self, rule: &Rule, variables: &[(&str, cel::Value)]) -> String {
        let told = rule
            .message_program
            .as_ref()
            .and_then(|program| program.evaluate(variables, &mut self.budget).ok());
        let told = told.as_ref().and_then(cel::Value::as_text).map(str::trim);
        let usable =
            told.filter(|text| !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n'));
        usable.unwrap_or(&rule.message).to_owned()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn failure(error: &EvalError, rule: &str) -> String {
    let message = &error.message;
    if error.exhausted {
        return format!(
            "'{message}': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
        );
    }
    if message.starts_with("no such overload") {
        return format!(
            "'{message}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
        );
    }
    format!("{message} evaluating rule: {rule}")
}

fn kind_name(node: &Node) -> &'static str {
    match node.kind() {
        Kind::Any => "",
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
    }
}

/// The value in an error; objects and lists are left out.
fn shown(node: &Node, value: &Value) -> Option<String> {
    (!matches!(node.kind(), Kind::Object | Kind::Array)).then(|| go::shown(value))
}

fn broken(reason: &str, field: String, value: Option<String>, detail: &str) -> Cause {
    let value = value.map(|value| format!(": {value}")).unwrap_or_default();
    match reason {
        "FieldValueForbidden" => Cause::forbidden(field, detail),
        "FieldValueRequired" => Cause::required(field, detail),
        "FieldValueDuplicate" => {
            Cause { field, reason: "FieldValueDuplicate", message: format!("Duplicate value{value}") }
        }
        _ => {
            let field = if field.is_empty() { "<nil>".to_owned() } else { field };
            Cause { field, reason: "FieldValueInvalid", message: format!("Invalid value{value}: {detail}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(schema: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
        let node = Node::parse(schema);
        let causes = Rules::of(&node, true).validate(Change { new, old }, &node);
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    fn spec(rules: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        }}}})
    }

    #[test]
    fn a_broken_rule_says_its_message() {
        let schema = spec(json!([{"rule": "self.min <= self.max", "message": "min must not exceed max"}]));
        assert_eq!(complaints(&schema, &json!({"spec": {"min": 1, "max": 2}}), None), Vec::<String>::new());
        let broken = complaints(&schema, &json!({"spec": {"min": 3, "max": 2}}), None);
        assert_eq!(broken, ["spec: Invalid value: min must not exceed max"]);
        let missing = complaints(&schema, &json!({"spec": {"min": 3}}), None);
        assert_eq!(
            missing,
            ["spec: Invalid value: \"object\": no such key: max evaluating rule: min must not exceed max"]
        );
    }

    #[test]
    fn messages_paths_and_reasons_can_be_made() {
        let rules = json!([{"rule": "self.min < 5", "messageExpression": "'got %d'.format([self.min])", "fieldPath": ".min", "reason": "FieldValueForbidden"}]);
        let broken = complaints(&spec(rules), &json!({"spec": {"min": 7}}), None);
        assert_eq!(broken, ["spec.min: Forbidden: got 7"]);
    }

    #[test]
    fn rules_about_changes_need_something_that_changed() {
        let schema = spec(json!([]));
        let (a, b) = (json!({"spec": {"name": "a"}}), json!({"spec": {"name": "b"}}));
        assert_eq!(complaints(&schema, &a, None), Vec::<String>::new());
        assert_eq!(complaints(&schema, &a, Some(&a)), Vec::<String>::new());
        assert_eq!(complaints(&schema, &b, Some(&a)), ["spec.name: Invalid value: \"b\": is immutable"]);
    }

    #[test]
    fn what_did_not_change_is_forgiven() {
        let schema = spec(json!([{"rule": "self.min <= self.max", "message": "m"}]));
        let wrong = json!({"spec": {"min": 3, "max": 2}, "other": 1});
        assert_eq!(
            complaints(&schema, &wrong, Some(&json!({"spec": {"min": 3, "max": 2}}))),
            Vec::<String>::new()
        );
        assert_eq!(complaints(&schema, &wrong, Some(&json!({"spec": {"min": 9, "max": 2}}))).len(), 1);
    }
}
