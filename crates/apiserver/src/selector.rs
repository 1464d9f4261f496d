//! Label and field selectors: parsing and matching. Pure.

mod field;
mod label;

pub use self::field::FieldSelector;
pub use self::label::LabelSelector;
pub(crate) use self::label::{is_key as is_label_key, is_value as is_label_value};

use serde_json::Value;

/// Why a selector was not understood (HTTP 400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
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
