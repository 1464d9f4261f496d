//! CustomResourceDefinitions as objects: defaults, checks, and the conditions that say they are served. They are served
//! as soon as they are stored, so `Established` and `NamesAccepted` are true from the start.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, moment};
use crate::json::{at, child, default, items, text};
use crate::status::Cause;
use crate::table::JsonPath;

pub(crate) struct Definition;

impl Strategy for Definition {
    fn default(&self, object: &mut Value) {
        let spec = child(object, "spec");
        default(spec, "conversion", json!({"strategy": "None"}));
        let names = child(spec, "names");
        let kind = text(names, "kind").to_owned();
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
        // New names are accepted at once, like the first ones.
        if at(object, "status").is_some() {
            object["status"]["acceptedNames"] = object["spec"]["names"].clone();
        }
    }

    fn begin(&self, object: &mut Value, _has_status: bool, now: Timestamp) {
        let stored = items(object, "spec.versions").iter().filter(|v| v["storage"] == true);
        let stored: Vec<Value> = stored.map(|v| v["name"].clone()).collect();
        let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": moment(now)});
        object["status"] = json!({
            "acceptedNames": object["spec"]["names"],
            "storedVersions": stored,
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        });
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = names(object);
        causes.extend(versions(object));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let fixed = ["spec.group", "spec.scope", "spec.names.kind", "spec.names.plural"];
        let changed = fixed.iter().filter(|field| text(new, field) != text(old, field));
        changed.map(|field| Cause::invalid(*field, text(new, field), "field is immutable")).collect()
    }
}

fn names(object: &Value) -> Vec<Cause> {
    let required = ["spec.group", "spec.names.plural", "spec.names.kind"];
    let mut causes: Vec<Cause> =
        required.iter().filter(|f| text(object, f).is_empty()).map(|f| Cause::required(*f, "")).collect();
    let group = text(object, "spec.group");
    if !group.is_empty() && !group.contains('.') {
        causes.push(Cause::invalid("spec.group", group, "should be a domain with at least one dot"));
    }
    let scope = text(object, "spec.scope");
    if !["Cluster", "Namespaced"].contains(&scope) {
        causes.push(Cause::invalid("spec.scope", scope, "supported values: \"Cluster\", \"Namespaced\""));
    }
    let (name, wanted) = (
        text(object, "metadata.name"),
        format!("{}.{}", text(object, "spec.names.plural"), text(object, "spec.group")),
    );
    if name != wanted {
        let detail = format!("must be spec.names.plural+\".\"+spec.group ({wanted:?})");
        causes.push(Cause::invalid("metadata.name", name, &detail));
    }
    causes
}

fn versions(object: &Value) -> Vec<Cause> {
    let versions = items(object, "spec.versions");
    let mut causes = Vec::new();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", "", detail));
    }
    for (v, version) in versions.iter().enumerate() {
        if text(version, "name").is_empty() {
            causes.push(Cause::required(format!("spec.versions[{v}].name"), ""));
        }
        if version["schema"]["openAPIV3Schema"].is_null() {
            let field = format!("spec.versions[{v}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        }
        causes.extend(columns(v, version));
    }
    causes
}

fn columns(v: usize, version: &Value) -> impl Iterator<Item = Cause> {
    let paths = items(version, "additionalPrinterColumns").iter().map(|c| text(c, "jsonPath")).enumerate();
    let wrong = paths.filter_map(|(c, path)| JsonPath::parse(path).err().map(|error| (c, path, error)));
    wrong.map(move |(c, path, error)| {
        let field = format!("spec.versions[{v}].additionalPrinterColumns[{c}].jsonPath");
        Cause::invalid(field, path, &error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        let mut object = json!({
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        });
        Definition.default(&mut object);
        object
    }

    #[test]
    fn names_have_defaults_and_conditions_are_set_at_once() {
        let mut object = definition();
        assert_eq!(Definition.validate(&object), []);
        Definition.begin(&mut object, true, Timestamp::UNIX_EPOCH);
        assert_eq!(object["status"]["acceptedNames"]["listKind"], "ThingList");
        assert_eq!(object["status"]["acceptedNames"]["singular"], "thing");
        assert_eq!(object["status"]["conditions"][1]["type"], "Established");
        assert_eq!(object["status"]["storedVersions"], json!(["v1"]));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let mut object = definition();
        object["metadata"]["name"] = json!("other");
        object["spec"]["versions"][0]["storage"] = json!(false);
        object["spec"]["versions"][0]["additionalPrinterColumns"] = json!([{"jsonPath": ".["}]);
        let fields: Vec<String> = Definition.validate(&object).into_iter().map(|c| c.field).collect();
        let wrong =
            ["metadata.name", "spec.versions", "spec.versions[0].additionalPrinterColumns[0].jsonPath"];
        assert_eq!(fields, wrong);
    }

    #[test]
    fn a_group_without_a_dot_could_be_taken_for_a_built_in_one() {
        let mut object = definition();
        object["spec"]["group"] = json!("core");
        object["metadata"]["name"] = json!("things.core");
        assert_eq!(Definition.validate(&object)[0].field, "spec.group");
    }

    #[test]
    fn changed_names_are_accepted() {
        let mut object = definition();
        Definition.begin(&mut object, true, Timestamp::UNIX_EPOCH);
        object["spec"]["names"]["shortNames"] = json!(["th"]);
        Definition.default(&mut object);
        assert_eq!(object["status"]["acceptedNames"]["shortNames"], json!(["th"]));
    }

    #[test]
    fn the_group_cannot_change() {
        let (old, mut new) = (definition(), definition());
        new["spec"]["group"] = json!("other");
        assert_eq!(Definition.validate_update(&new, &old).len(), 1);
    }
}
