//! Namespaces. Their content is deleted with them (`api::cascade`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NameRule, Strategy};
use crate::json::child;

pub(crate) struct Namespace;

impl Strategy for Namespace {
    fn name_rule(&self) -> NameRule {
        NameRule::LabelNoDots
    }

    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"phase": "Active"});
        let finalizers = child(object, "spec");
        let mut list = crate::json::items(finalizers, "finalizers").to_vec();
        if !list.iter().any(|f| f == "kubernetes") {
            list.push(json!("kubernetes"));
        }
        finalizers["finalizers"] = json!(list);
    }

    /// The real server guards the same three.
    fn is_protected(&self, name: &str) -> bool {
        ["default", "kube-system", "kube-public"].contains(&name)
    }

    fn answers_with_object(&self) -> bool {
        true
    }

    fn begin_deletion(&self, object: &mut Value) {
        child(object, "status")["phase"] = json!("Terminating");
    }

    /// Finalizing is about the finalizers of the spec alone.
    fn restrict_update_below(&self, _below: &str, new: &mut Value, old: &Value) {
        let wanted = new["spec"].clone();
        *new = old.clone();
        crate::json::carry("finalizers", &wanted, child(new, "spec"));
    }
}
