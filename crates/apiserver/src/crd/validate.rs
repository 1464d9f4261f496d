//! Validation of values against the words of OpenAPI: types, bounds, formats, combinations. Messages, and the choice among
//! the failures of a combination, are the real server's (`kube-openapi/pkg/validation/validate`).

mod combined;
mod plain;

use serde_json::Value;

use super::{correlate, format};
use crate::go;
use crate::schema::{Kind, Node};
use crate::status::Cause;

/// What is wrong with `value`, which is at `prefix` of its object (empty for the object itself). `old` is what it was before
/// an update: parts that did not change are not complained about.
pub(super) fn validate(value: &Value, node: &Node, old: Option<&Value>, prefix: &str) -> Vec<Cause> {
    let outcome = Place { node, old, path: String::new() }.ratcheted(value);
    outcome.complaints.into_iter().map(|complaint| complaint.cause(prefix)).collect()
}

/// One failure.
#[derive(Debug, Clone)]
struct Complaint {
    /// Path of the value; `None` for failures of combinations, which have none.
    path: Option<String>,
    reason: &'static str,
    /// What the field error says before the detail.
    head: String,
    detail: String,
    /// The validator's own words: two failures with the same words are one.
    words: String,
}

impl Complaint {
    fn invalid(path: &str, value: &Value, words: String) -> Self {
        Self {
            path: Some(path.into()),
            reason: "FieldValueInvalid",
            head: format!("Invalid value: {}", go::shown(value)),
            detail: words.clone(),
            words,
        }
    }

    /// `data` is what the message shows: the type that was found, or the text that has not the format.
    fn of_type(path: &str, wanted: &str, data: &str) -> Self {
        let words = format!("{path} in body must be of type {wanted}: {}", go::quote(data));
        Self { reason: "FieldValueTypeInvalid", ..Self::invalid(path, &Value::from(data), words) }
    }

    fn combined(words: String) -> Self {
        Self { path: None, ..Self::invalid("", &Value::from(""), words) }
    }

    fn cause(self, prefix: &str) -> Cause {
        let name = self.path.as_deref().map(|path| path.trim_start_matches('.'));
        let field = match (name, prefix) {
            (None, "") => "<nil>".to_owned(),
            (None | Some(""), prefix) => prefix.to_owned(),
            (Some(name), "") => name.to_owned(),
            (Some(name), prefix) => format!("{prefix}.{name}"),
        };
        let colon = if self.detail.is_empty() { "" } else { ": " };
        Cause { field, reason: self.reason, message: format!("{}{colon}{}", self.head, self.detail) }
    }
}

/// Failures, and how many checks went well: among the failures of alternatives, those of the closest one are shown.
#[derive(Debug, Clone, Default)]
struct Outcome {
    complaints: Vec<Complaint>,
    matches: usize,
}

impl Outcome {
    fn of(complaint: Complaint) -> Self {
        Self { complaints: vec![complaint], matches: 0 }
    }

    fn good() -> Self {
        Self { complaints: Vec::new(), matches: 1 }
    }

    fn is_valid(&self) -> bool {
        self.complaints.is_empty()
    }

    fn add(&mut self, complaint: Complaint) {
        if !self.complaints.iter().any(|told| told.words == complaint.words) {
            self.complaints.push(complaint);
        }
    }

    fn merge(&mut self, other: Self) {
        other.complaints.into_iter().for_each(|complaint| self.add(complaint));
        self.matches += other.matches;
    }

    fn count(&mut self) {
        self.matches += 1;
    }
}

/// A type, and where in the object it is being asked about.
struct Place<'a> {
    node: &'a Node,
    old: Option<&'a Value>,
    path: String,
}

impl<'a> Place<'a> {
    fn below(&self, node: &'a Node, old: Option<&'a Value>, path: String) -> Self {
        Place { node, old, path }
    }

    /// Failures of a value that is what it was before do not count.
    fn ratcheted(&self, value: &Value) -> Outcome {
        let outcome = self.judged(value);
        if !outcome.is_valid() && self.old == Some(value) {
            return Outcome { complaints: Vec::new(), matches: outcome.matches };
        }
        outcome
    }

    fn judged(&self, value: &Value) -> Outcome {
        let mut outcome = Outcome::default();
        if value.is_null() {
            outcome.merge(self.of_type(value));
            outcome.merge(self.among_enumerated(value));
            return outcome;
        }
        let mut checked = |result: Outcome| {
            outcome.merge(result);
            outcome.count();
        };
        if !self.types().is_empty() || !self.format().is_empty() {
            checked(self.of_type(value));
        }
        checked(self.combined(value));
        if let Value::String(text) = value {
            checked(self.text(text));
            if let Some(check) = format::check(self.format()) {
                let good = check(text);
                let bad = || Outcome::of(Complaint::of_type(&self.path, self.format(), text));
                checked(if good { Outcome::default() } else { bad() });
            }
        }
        if value.is_number() {
            checked(self.number(value));
        }
        if let Value::Array(items) = value {
            checked(self.list(items));
        }
        checked(self.among_enumerated(value));
        if let Value::Object(fields) = value {
            checked(self.object(fields));
        }
        outcome.count();
        outcome
    }

    /// The format, if it is one that is checked.
    fn format(&self) -> &str {
        Some(self.node.format()).filter(|format| format::is_known(format)).unwrap_or_default()
    }

    fn types(&self) -> &'static [&'static str] {
        if self.node.is_int_or_string() {
            return &["integer", "string"];
        }
        match self.node.kind() {
            Kind::Any => &[],
            Kind::Object => &["object"],
            Kind::Array => &["array"],
            Kind::String => &["string"],
            Kind::Integer => &["integer"],
            Kind::Number => &["number"],
            Kind::Boolean => &["boolean"],
        }
    }

    fn list(&self, items: &[Value]) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(element) = self.node.items() {
            for (n, item) in items.iter().enumerate() {
                let old = correlate::element(self.old, self.node, item);
                let path = format!("{}[{n}]", self.path);
                outcome.merge(self.below(element, old, path).ratcheted(item));
            }
        }
        self.list_size(items, &mut outcome);
        outcome.count();
        outcome
    }

    fn object(&self, fields: &serde_json::Map<String, Value>) -> Outcome {
        let mut outcome = Outcome::default();
        self.object_size(fields.len(), &mut outcome);
        if let Some(values) = self.node.values() {
            for (key, value) in fields.iter().filter(|(key, _)| self.node.property(key).is_none()) {
                let path = format!("{}.{key}", self.path);
                outcome.merge(self.below(values, correlate::field(self.old, key), path).ratcheted(value));
            }
        }
        for (name, property) in self.node.properties() {
            let Some(value) = fields.get(name) else { continue };
            let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
            outcome.merge(self.below(property, correlate::field(self.old, name), path).ratcheted(value));
        }
        for name in self.node.required().filter(|name| !fields.contains_key(*name)) {
            let path = format!("{}.{name}", self.path);
            let words = format!("{path} in body is required");
            let missing = Complaint::invalid(&path, &Value::Null, words);
            let reason = "FieldValueRequired";
            outcome.add(Complaint {
                reason,
                head: "Required value".into(),
                detail: String::new(),
                ..missing
            });
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
