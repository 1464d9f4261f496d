//! One value by itself: its type, the words about strings, numbers, sizes, and enumerations.

use serde_json::Value;

use super::{Complaint, Outcome, Place};
use crate::crd::pattern;
use crate::go;

/// A number as Go's decoder has it.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Self {
        value.as_i64().map_or_else(|| Self::Float(value.as_f64().unwrap_or_default()), Self::Int)
    }
}

/// The type of a value, and the format that its Go type implies.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(_) => match Number::of(value) {
            Number::Int(_) => ("integer", "int64"),
            Number::Float(_) => ("number", "float64"),
        },
    }
}

impl Place<'_> {
    pub(super) fn of_type(&self, value: &Value) -> Outcome {
        let (types, format) = (self.types(), self.format());
        let (found, implied) = type_of(value);
        if value.is_null() {
            let refused = !types.is_empty() && !self.node.is_nullable();
            return if refused { self.wrong_type(&types.join(","), "null") } else { Outcome::good() };
        }
        let whole = matches!(Number::of(value), Number::Float(f) if f.fract() == 0.0);
        let numeric = (found == "number" && whole && types.contains(&"integer"))
            || (found == "integer" && types.contains(&"number"));
        let fits = types.contains(&found) || numeric;
        let text_like = value.is_string() || value.is_array();
        if !text_like && !format.is_empty() && !fits {
            return self.wrong_type(format, implied);
        }
        let for_numbers = types.contains(&"number") || types.contains(&"integer");
        if fits || (text_like && !format.is_empty() && !for_numbers) {
            return Outcome::good();
        }
        self.wrong_type(&types.join(","), found)
    }

    fn wrong_type(&self, wanted: &str, found: &str) -> Outcome {
        Outcome::of(Complaint::of_type(&self.path, wanted, found))
    }

    fn says(&self, what: &str) -> String {
        format!("{} in body {what}", self.path)
    }

    fn complain(&self, value: &Value, what: &str) -> Complaint {
        Complaint::invalid(&self.path, value, self.says(what))
    }

    pub(super) fn text(&self, text: &str) -> Outcome {
        let Some(rules) = self.node.rules() else { return Outcome::default() };
        let length = text.chars().count() as u64;
        if let Some(max) = rules.max_length.filter(|max| length > *max) {
            let words = self.says(&format!("should be at most {max} chars long"));
            let unit = if max == 1 { "byte" } else { "bytes" };
            return Outcome::of(Complaint {
                reason: "FieldValueTooLong",
                head: "Too long".into(),
                detail: format!("may not be more than {max} {unit}"),
                ..Complaint::invalid(&self.path, &Value::Null, words)
            });
        }
        let value = Value::from(text);
        if let Some(min) = rules.min_length.filter(|min| length < *min) {
            return Outcome::of(self.complain(&value, &format!("should be at least {min} chars long")));
        }
        match &rules.pattern {
            Some(wanted) if !pattern::matches(wanted, text) => {
                Outcome::of(self.complain(&value, &format!("should match '{wanted}'")))
            }
            _ => Outcome::default(),
        }
    }

    pub(super) fn number(&self, value: &Value) -> Outcome {
        let mut outcome = Outcome::good();
        let Some(rules) = self.node.rules() else { return outcome };
        let number = Number::of(value);
        if let Some(factor) = rules.multiple_of {
            outcome.complaints.extend(self.multiple(value, number, factor));
        }
        if let Some(bound) = rules.maximum {
            let (over, shown) = compare(number, bound.value, bound.exclusive, |a, b| a > b, |a, b| a > b);
            let what =
                if bound.exclusive { "should be less than" } else { "should be less than or equal to" };
            outcome.complaints.extend(over.then(|| self.complain(value, &format!("{what} {shown}"))));
        }
        if let Some(bound) = rules.minimum {
            let (under, shown) = compare(number, bound.value, bound.exclusive, |a, b| a < b, |a, b| a < b);
            let what =
                if bound.exclusive { "should be greater than" } else { "should be greater than or equal to" };
            outcome.complaints.extend(under.then(|| self.complain(value, &format!("{what} {shown}"))));
        }
        outcome
    }

    fn multiple(&self, value: &Value, number: Number, factor: f64) -> Option<Complaint> {
        let (fits, shown) = match number {
            Number::Int(n) => {
                let factor = whole(factor);
                (factor > 0 && n % factor == 0, factor.to_string())
            }
            Number::Float(f) => {
                let quotient = if factor < 1.0 { 1.0 / factor * f } else { f / factor };
                (factor > 0.0 && (quotient - quotient.round()).abs() < 1e-9, go::float(factor))
            }
        };
        (!fits).then(|| self.complain(value, &format!("should be a multiple of {shown}")))
    }

    pub(super) fn among_enumerated(&self, value: &Value) -> Outcome {
        let Some(rules) = self.node.rules().filter(|rules| !rules.enumeration.is_empty()) else {
            return Outcome::default();
        };
        let same = |allowed: &Value| match (allowed.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
            _ => allowed == value && !value.is_null(),
        };
        if rules.enumeration.iter().any(same) {
            return Outcome::default();
        }
        let plain = |allowed: &Value| allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned);
        let allowed: Vec<String> = rules.enumeration.iter().map(plain).collect();
        let quoted: Vec<String> = allowed.iter().map(|allowed| go::quote(allowed)).collect();
        let words = self.says(&format!("should be one of [{}]", allowed.join(" ")));
        Outcome::of(Complaint {
            reason: "FieldValueNotSupported",
            head: format!("Unsupported value: {}", go::shown(value)),
            detail: format!("supported values: {}", quoted.join(", ")),
            ..Complaint::invalid(&self.path, value, words)
        })
    }

    pub(super) fn list_size(&self, items: &[Value], outcome: &mut Outcome) {
        let Some(rules) = self.node.rules() else { return };
        let size = items.len() as u64;
        if let Some(min) = rules.min_items.filter(|min| size < *min) {
            outcome.add(self.complain(&Value::from(size), &format!("should have at least {min} items")));
        }
        if let Some(max) = rules.max_items.filter(|max| size > *max) {
            outcome.add(self.too_many(size, max, &format!("should have at most {max} items")));
        }
        let repeated = || items.iter().enumerate().any(|(n, item)| items[..n].contains(item));
        if rules.unique_items && repeated() {
            outcome.add(self.complain(&Value::from(""), "shouldn't contain duplicates"));
        }
    }

    pub(super) fn object_size(&self, fields: usize, outcome: &mut Outcome) {
        let Some(rules) = self.node.rules() else { return };
        let size = fields as u64;
        if let Some(min) = rules.min_properties.filter(|min| size < *min) {
            outcome.add(self.complain(&Value::from(size), &format!("should have at least {min} properties")));
        }
        if let Some(max) = rules.max_properties.filter(|max| size > *max) {
            outcome.add(self.too_many(size, max, &format!("should have at most {max} properties")));
        }
    }

    fn too_many(&self, actual: u64, max: u64, what: &str) -> Complaint {
        let unit = if max == 1 { "item" } else { "items" };
        Complaint {
            reason: "FieldValueTooMany",
            head: format!("Too many: {actual}"),
            detail: format!("must have at most {max} {unit}"),
            ..self.complain(&Value::from(actual), what)
        }
    }
}

/// A bound as the real server uses it on whole numbers: cut to one.
#[allow(clippy::cast_possible_truncation, reason = "that is what the real server does; the cast saturates")]
fn whole(bound: f64) -> i64 {
    bound as i64
}

/// True if `number` is beyond the bound, and the bound as it is shown.
fn compare(
    number: Number,
    bound: f64,
    exclusive: bool,
    ints: fn(i64, i64) -> bool,
    floats: fn(f64, f64) -> bool,
) -> (bool, String) {
    match number {
        Number::Int(n) => {
            let bound = whole(bound);
            (ints(n, bound) || (exclusive && n == bound), bound.to_string())
        }
        Number::Float(f) => {
            let equal = f.total_cmp(&bound).is_eq();
            (floats(f, bound) || (exclusive && equal), go::float(bound))
        }
    }
}
