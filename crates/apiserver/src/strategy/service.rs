//! Services. Their addresses and ports are given out by `api::allocate`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NameRule, Strategy};
use crate::status::Cause;

pub(crate) struct Service;

impl Strategy for Service {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn answers_with_object(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let headless = object["spec"]["clusterIP"] == "None" || object["spec"]["type"] == "ExternalName";
        if headless || !crate::json::items(object, "spec.ports").is_empty() {
            return Vec::new();
        }
        vec![Cause::required("spec.ports", "")]
    }
}
