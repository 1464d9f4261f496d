//! Label and field selectors: parsing and matching. Pure.

mod field;
mod label;

pub use self::field::FieldSelector;
pub use self::label::LabelSelector;
pub(crate) use self::label::{is_key as is_label_key, is_value as is_label_value};

use serde_json::Value;

/// The requirements of a LabelSelector object as texts, sorted by key as the real server prints them.
pub(crate) fn requirements(selector: &Value) -> Vec<String> {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut found: Vec<(String, String)> = labels
        .map(|(key, value)| (key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let text = match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        found.push((key.to_owned(), text));
    }
    found.sort();
    found.into_iter().map(|(_, text)| text).collect()
}

/// Why a selector was not understood (HTTP 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// What a list, watch or deletecollection is restricted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Conditions on `metadata.labels`.
    pub labels: LabelSelector,
    /// Conditions on a few fields.
    pub fields: FieldSelector,
}

impl Selector {
    /// True if it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// True if `object` fulfils all conditions.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}
