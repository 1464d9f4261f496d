//! Services. Addresses are not allocated: nothing here routes to them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NameRule, Strategy};
use crate::json::{child, default, integer};
use crate::status::Cause;

pub(crate) struct Service;

impl Strategy for Service {
    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn default(&self, object: &mut Value) {
        let spec = child(object, "spec");
        default(spec, "type", "ClusterIP");
        default(spec, "sessionAffinity", "None");
        default(spec, "internalTrafficPolicy", "Cluster");
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            default(port, "protocol", "TCP");
            if let Some(number) = integer(port, "port") {
                default(port, "targetPort", number);
            }
        }
    }

    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let headless = object["spec"]["clusterIP"] == "None" || object["spec"]["type"] == "ExternalName";
        if headless || !crate::json::items(object, "spec.ports").is_empty() {
            return Vec::new();
        }
        vec![Cause::required("spec.ports", "")]
    }
}
