//! CustomResourceDefinitions as objects: defaults and checks, in the real server's words and order
//! (`apiextensions-apiserver/pkg/apis/apiextensions/validation`). What their names come to is decided in `crate::crd`.

mod defaults;
mod expressions;
mod schema;
mod spec;
mod structural;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Strategy;
use crate::json::{child, default, items, text};
use crate::status::Cause;

pub(crate) struct Definition;

impl Strategy for Definition {
    fn default(&self, object: &mut Value) {
        let spec = child(object, "spec");
        default(spec, "conversion", json!({"strategy": "None"}));
        if let Some(service) = spec.pointer_mut("/conversion/webhook/clientConfig/service") {
            default(service, "port", 443);
        }
        let names = child(spec, "names");
        let kind = text(names, "kind").to_owned();
        if !kind.is_empty() {
            default(names, "singular", kind.to_lowercase());
            default(names, "listKind", format!("{kind}List"));
        }
        if object["status"].is_object() {
            add_stored_version(object);
        }
    }

    /// Until the names are looked at, a moment later, a definition has none.
    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] =
            json!({"acceptedNames": {"plural": "", "kind": ""}, "conditions": null, "storedVersions": []});
        add_stored_version(object);
    }

    fn answers_with_object(&self) -> bool {
        true
    }

    fn begin_deletion(&self, object: &mut Value) {
        let condition = json!({
            "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            "lastTransitionTime": object["metadata"]["deletionTimestamp"],
        });
        if let Some(conditions) = child(object, "status").get_mut("conditions").and_then(Value::as_array_mut)
        {
            conditions.push(condition);
        }
    }

    fn validate_new(&self, object: &Value) -> Vec<Cause> {
        let wanted = format!("{}.{}", text(object, "spec.names.plural"), text(object, "spec.group"));
        let name = text(object, "metadata.name");
        let detail = "must be spec.names.plural+\".\"+spec.group";
        let mut causes = Vec::new();
        if name != wanted && !name.is_empty() {
            causes.push(Cause::invalid("metadata.name", name, detail));
        }
        causes.extend(spec::preserve_unknown_fields(object));
        causes.extend(spec::approval(object));
        causes
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = spec::validate(&object["spec"]);
        causes.extend(spec::stored_versions(object));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut conditions = items(old, "status.conditions").iter();
        let established = conditions.any(|c| c["type"] == "Established" && c["status"] == "True");
        let fixed = ["spec.scope", "spec.names.kind", "spec.group", "spec.names.plural"];
        let fixed = &fixed[if established { 0 } else { 2 }..];
        let changed = fixed.iter().filter(|field| text(new, field) != text(old, field));
        changed.map(|field| Cause::invalid(*field, text(new, field), "field is immutable")).collect()
    }
}

/// Versions in which objects were ever stored are remembered.
fn add_stored_version(object: &mut Value) {
    let storage = items(object, "spec.versions").iter().find(|v| v["storage"] == true);
    let storage = storage.map(|v| v["name"].clone());
    let Some(stored) = child(object, "status").as_object_mut() else { return };
    let stored = stored.entry("storedVersions").or_insert_with(|| json!([]));
    let Some(stored) = stored.as_array_mut() else { return };
    if let Some(version) = storage.filter(|version| !stored.contains(version)) {
        stored.push(version);
    }
}

#[cfg(test)]
mod tests;
