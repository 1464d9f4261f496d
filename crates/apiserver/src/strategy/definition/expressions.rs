//! Expressions in schemas (`x-kubernetes-validations`): what is wrong with them before any object is.

use serde_json::{Value, json};

use super::structural::property_path;
use crate::cel::{self, Type};
use crate::crd;
use crate::go;
use crate::json::{items, text};
use crate::schema::Node;
use crate::status::Cause;

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the expressions in `schema`, which is structural and at `path`.
pub(super) fn validate(schema: &Value, path: &str) -> Vec<Cause> {
    let mut walk = Walk { words: Vec::new(), expressions: Vec::new() };
    walk.node(schema, path, Place { whole: true, uncorrelatable: None });
    // Expressions are told about only where everything else is in order.
    if walk.words.is_empty() { walk.expressions } else { walk.words }
}

#[derive(Clone)]
struct Place {
    whole: bool,
    /// The part of the schema within which values cannot be told from their former selves.
    uncorrelatable: Option<String>,
}

struct Walk {
    words: Vec<Cause>,
    expressions: Vec<Cause>,
}

impl Walk {
    fn node(&mut self, schema: &Value, path: &str, place: Place) {
        let below = |loses: bool| Place {
            whole: false,
            uncorrelatable: place.uncorrelatable.clone().or_else(|| loses.then(|| path.to_owned())),
        };
        let atomic = schema["x-kubernetes-map-type"] == "atomic";
        if schema["additionalProperties"].is_object() {
            self.node(&schema["additionalProperties"], &format!("{path}.additionalProperties"), below(false));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.node(property, &property_path(path, name), below(atomic));
        }
        if schema["items"].is_object() {
            let loses = schema["x-kubernetes-list-type"] != "map";
            self.node(&schema["items"], &format!("{path}.items"), below(loses));
        }
        let node = Node::parse(schema);
        for (n, rule) in items(schema, "x-kubernetes-validations").iter().enumerate() {
            let path = format!("{path}.x-kubernetes-validations[{n}]");
            self.words(rule, &node, &path);
            self.rule(rule, &node, &path, &place);
        }
    }

    fn words(&mut self, rule: &Value, node: &Node, path: &str) {
        let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
        let field = |key: &str| format!("{path}.{key}");
        let complaint = if source.is_empty() {
            Some(Cause::required(field("rule"), "rule is not specified"))
        } else if !message.is_empty() && message.trim().is_empty() {
            Some(Cause::invalid(field("message"), message, "must be non-empty if specified"))
        } else if message.trim().contains('\n') {
            Some(Cause::invalid(field("message"), message, "must not contain line breaks"))
        } else if source.contains('\n') && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            Some(Cause::required(field("message"), detail))
        } else {
            None
        };
        self.words.extend(complaint);
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            self.words.push(Cause::required(field("messageExpression"), detail));
        }
        let reason = text(rule, "reason");
        if !rule["reason"].is_null() && !REASONS.contains(&reason) {
            self.words.push(Cause::not_supported(field("reason"), &json!(reason), &REASONS));
        }
        let field_path = text(rule, "fieldPath");
        if !field_path.is_empty() && !leads_somewhere(node, field_path) {
            self.words.push(Cause::invalid(field("fieldPath"), field_path, "must be a valid path"));
        }
    }

    fn rule(&mut self, rule: &Value, node: &Node, path: &str, place: &Place) {
        let optional_old = rule["optionalOldSelf"] == true;
        let Some(variables) = crd::rule_variables(node, place.whole, optional_old) else { return };
        let mut complain = |key: &str, detail: String| {
            let message = format!("Invalid value: {}: {detail}", shown(rule));
            self.expressions.push(Cause {
                field: format!("{path}.{key}"),
                reason: "FieldValueInvalid",
                message,
            });
        };
        let source = text(rule, "rule");
        let program = match cel::compile(source, &variables) {
            Err(error) => return complain("rule", format!("compilation failed: {error}")),
            Ok((_, kind)) if kind != Type::Bool => {
                return complain("rule", "cel expression must evaluate to a bool".into());
            }
            Ok((program, _)) => program,
        };
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() {
            match cel::compile(expression, &variables) {
                Err(error) => {
                    complain("messageExpression", format!("messageExpression compilation failed: {error}"))
                }
                Ok((_, kind)) if kind != Type::Text => {
                    complain("messageExpression", "messageExpression must evaluate to a string".into());
                }
                Ok(_) => {}
            }
        }
        if program.mentions("oldSelf") {
            if let Some(within) = &place.uncorrelatable {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
                );
                self.expressions.push(Cause::invalid(format!("{path}.rule"), source, &detail));
            }
        } else if !rule["optionalOldSelf"].is_null() {
            let detail = "may not be set if oldSelf is not used in rule";
            let field = format!("{path}.optionalOldSelf");
            self.expressions.push(Cause::invalid_value(field, &rule["optionalOldSelf"], detail));
        }
    }
}

/// The rule in the form that the real server works with, in the order of its fields.
fn shown(rule: &Value) -> String {
    let said = |key: &str| json!(text(rule, key));
    let fields = [
        ("Rule", said("rule")),
        ("Message", said("message")),
        ("MessageExpression", said("messageExpression")),
        ("Reason", rule["reason"].clone()),
        ("FieldPath", said("fieldPath")),
        ("OptionalOldSelf", rule["optionalOldSelf"].clone()),
    ];
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("\"{key}\":{}", go::json(&value.to_string())))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// True if a `fieldPath` (`.a.b`, `.map['key']`) leads to a described field.
fn leads_somewhere(node: &Node, path: &str) -> bool {
    let mut at = Some(node);
    let mut rest = path;
    while !rest.is_empty() {
        let (key, after) = if let Some(quoted) = rest.strip_prefix("['") {
            let Some((key, after)) = quoted.split_once("']") else { return false };
            (key, after)
        } else {
            let Some(plain) = rest.strip_prefix('.') else { return false };
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        };
        at = at.and_then(|node| node.property(key).or_else(|| node.values()));
        if at.is_none() || key.is_empty() {
            return false;
        }
        rest = after;
    }
    true
}
