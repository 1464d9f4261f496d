//! Kinds that make pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Strategy;
use crate::json::{carry, child, text};

/// Where the real server still writes what was once a field.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// DaemonSets.
pub(crate) struct DaemonSet;
impl Strategy for DaemonSet {
    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        carry("status", &Value::Null, object);
        child(child(object, "metadata"), "annotations")[TEMPLATE_GENERATION] = json!("1");
    }

    /// Counts changes of the template.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let before = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().unwrap_or("1");
        let mut count: i64 = before.parse().unwrap_or(1);
        if new["spec"]["template"] != old["spec"]["template"] {
            count += 1;
        }
        if text(new, "spec.updateStrategy.type").is_empty() {
            return;
        }
        child(child(new, "metadata"), "annotations")[TEMPLATE_GENERATION] = json!(count.to_string());
    }
}
