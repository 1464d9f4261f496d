//! Schemas of definitions: words that are not supported, and the rules of lists and maps.

use serde_json::{Value, json};

use super::structural::{flag, property_path};
use super::{defaults, expressions, structural};
use crate::crd;
use crate::json::{items, text};
use crate::status::Cause;
use crate::warning;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with the schema of `version`, whose part `schema` is at `path`.
pub(super) fn validate(version: &Value, path: &str) -> Vec<Cause> {
    let schema = &version["schema"]["openAPIV3Schema"];
    if !schema.is_object() {
        return Vec::new();
    }
    let path = format!("{path}.openAPIV3Schema");
    let mut causes = Vec::new();
    let has_status = version["subresources"]["status"].is_object();
    if has_status && text(schema, "type") != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        causes.push(Cause::invalid(format!("{path}.type"), text(schema, "type"), detail));
    }
    if flag(schema, "nullable") {
        causes.push(Cause::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    let mut walk = Walk { causes: Vec::new() };
    walk.node(schema, &path, Place { root: true, defaults: Defaults::Allowed });
    // With words that are not supported nobody knows what is structural.
    let readable = !walk.causes.iter().any(|cause| cause.message.ends_with(" is not supported"));
    let mut deeper = if readable { structural::validate(schema, &path) } else { Vec::new() };
    if deeper.is_empty() && readable {
        deeper = defaults::validate(schema, &path);
    }
    let sound = deeper.is_empty() && readable;
    causes.extend(deeper);
    causes.extend(walk.causes);
    if sound {
        causes.extend(expressions::validate(schema, &path));
    }
    causes
}

#[derive(Clone, Copy)]
enum Defaults {
    Allowed,
    /// Forbidden for this reason.
    Forbidden(&'static str),
}

#[derive(Clone, Copy)]
struct Place {
    root: bool,
    defaults: Defaults,
}

struct Walk {
    causes: Vec<Cause>,
}

impl Walk {
    fn forbid(&mut self, path: &str, key: &str, detail: &str) {
        self.causes.push(Cause::forbidden(format!("{path}.{key}"), detail));
    }

    fn node(&mut self, schema: &Value, path: &str, place: Place) {
        self.words(schema, path, place);
        if flag(schema, "uniqueItems") {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbid(path, "uniqueItems", detail);
        }
        let inner = Place { root: false, ..place };
        self.additional(schema, path, inner);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.node(property, &property_path(path, name), below(place, name));
        }
        if schema["not"].is_object() {
            self.node(&schema["not"], &format!("{path}.not"), inner);
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            for (n, part) in items(schema, key).iter().enumerate() {
                self.node(part, &format!("{path}.{key}[{n}]"), inner);
            }
        }
        if schema["items"].is_object() {
            self.node(&schema["items"], &format!("{path}.items"), inner);
        }
        self.extensions(schema, path);
    }

    fn additional(&mut self, schema: &Value, path: &str, inner: Place) {
        let said = &schema["additionalProperties"];
        let described = schema["properties"].as_object().is_some_and(|p| !p.is_empty());
        if described && (said.is_object() || *said == false) {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.forbid(path, "additionalProperties", detail);
        }
        if said.is_object() {
            self.node(said, &format!("{path}.additionalProperties"), inner);
        }
    }

    fn words(&mut self, schema: &Value, path: &str, place: Place) {
        let kind = text(schema, "type");
        if !kind.is_empty() && !TYPES.contains(&kind) {
            self.causes.push(Cause::not_supported(format!("{path}.type"), &json!(kind), &TYPES));
        }
        if let (Some(_), Defaults::Forbidden(why)) = (schema.get("default"), place.defaults) {
            self.forbid(path, "default", &format!("must not be set {why}"));
        }
        for word in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            let said = schema.get(word).filter(|v| {
                !v.is_null()
                    && **v != json!("")
                    && (**v != json!({}) || word == "additionalItems" || word == "dependencies")
            });
            if said.is_some() {
                self.forbid(path, word, &format!("{word} is not supported"));
            }
        }
        if kind == "null" {
            self.forbid(path, "type", "type cannot be set to null, use nullable as an alternative");
        }
        if schema["items"].is_array() {
            self.forbid(path, "items", "items must be a schema object and not an array");
        }
        let format = text(schema, "format");
        if kind == "string" && !format.is_empty() && !crd::is_known_format(format) {
            warning::add(format!("unrecognized format {format:?}"));
        }
    }

    fn extensions(&mut self, schema: &Value, path: &str) {
        const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
        if schema[PRESERVE] == false {
            let detail = "must be true or undefined";
            self.causes.push(Cause::invalid_value(format!("{path}.{PRESERVE}"), &json!(false), detail));
        }
        self.typed(schema, path, "x-kubernetes-map-type", "object");
        self.among(schema, path, "x-kubernetes-map-type", &["atomic", "granular"]);
        if !self.typed(schema, path, "x-kubernetes-list-type", "array") {
            self.set_of_composites(schema, path);
        }
        self.among(schema, path, "x-kubernetes-list-type", &["atomic", "set", "map"]);
        self.map_list(schema, path);
    }

    /// True if it complained.
    fn typed(&mut self, schema: &Value, path: &str, key: &str, wanted: &str) -> bool {
        let kind = text(schema, "type");
        if schema[key].is_null() || kind == wanted {
            return false;
        }
        let (field, detail) = (format!("{path}.type"), format!("must be {wanted} if {key} is specified"));
        let required = kind.is_empty();
        self.causes.push(if required {
            Cause::required(field, &detail)
        } else {
            Cause::invalid(field, kind, &detail)
        });
        true
    }

    fn among(&mut self, schema: &Value, path: &str, key: &str, allowed: &[&str]) {
        let value = &schema[key];
        if !value.is_null() && !value.as_str().is_some_and(|v| allowed.contains(&v)) {
            self.causes.push(Cause::not_supported(format!("{path}.{key}"), value, allowed));
        }
    }

    fn set_of_composites(&mut self, schema: &Value, path: &str) {
        let element = &schema["items"];
        if schema["x-kubernetes-list-type"] != "set" {
            return;
        }
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let list_type = &element["x-kubernetes-list-type"];
        match text(element, "type") {
            "array" if !list_type.is_null() && *list_type != "atomic" => {
                let field = format!("{path}.items.x-kubernetes-list-type");
                self.causes.push(Cause::invalid_value(field, list_type, detail));
            }
            "object" if element["x-kubernetes-map-type"] != "atomic" => {
                let field = format!("{path}.items.x-kubernetes-map-type");
                self.causes.push(Cause::invalid_value(field, list_type, detail));
            }
            _ => {}
        }
    }

    fn map_list(&mut self, schema: &Value, path: &str) {
        const TYPE: &str = "x-kubernetes-list-type";
        const KEYS: &str = "x-kubernetes-list-map-keys";
        let keys: Vec<&str> = items(schema, KEYS).iter().filter_map(Value::as_str).collect();
        let list_type = schema[TYPE].as_str().unwrap_or_default();
        if !keys.is_empty() && list_type != "map" {
            let (field, detail) =
                (format!("{path}.{TYPE}"), "must be map if x-kubernetes-list-map-keys is non-empty");
            self.causes.push(if schema[TYPE].is_null() {
                Cause::required(field, detail)
            } else {
                Cause::invalid(field, list_type, detail)
            });
        }
        if list_type == "map" {
            self.keys(schema, &keys, path);
        }
        let element = &schema["items"];
        if ["map", "set"].contains(&list_type) && flag(element, "nullable") {
            self.forbid(path, "items.nullable", &format!("cannot be nullable when {TYPE} is {list_type}"));
        }
        for key in keys.iter().filter(|_| list_type == "map") {
            self.key_property(element, key, path);
        }
    }

    fn keys(&mut self, schema: &Value, keys: &[&str], path: &str) {
        let keys_field = format!("{path}.x-kubernetes-list-map-keys");
        if keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            self.causes.push(Cause::required(&keys_field, detail));
        }
        let element = &schema["items"];
        if !element.is_object() {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            self.causes.push(Cause::required(format!("{path}.items"), detail));
            return;
        }
        let kind = text(element, "type");
        if kind != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.causes.push(Cause::invalid(format!("{path}.items.type"), kind, detail));
            return;
        }
        for (n, key) in keys.iter().enumerate() {
            match element["properties"].get(*key).map(|property| text(property, "type")) {
                Some("array" | "object") => {
                    let field = format!("{}.type", property_path(&format!("{path}.items"), key));
                    let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.causes.push(Cause::invalid(field, kind, detail));
                }
                Some(_) => {}
                None => {
                    let detail = "entries must all be names of item properties";
                    self.causes.push(Cause::invalid_value(&keys_field, &json!(keys), detail));
                }
            }
            if keys[..n].contains(key) {
                let detail = "must not contain duplicate entries";
                self.causes.push(Cause::invalid_value(format!("{keys_field}[{n}]"), &json!(key), detail));
            }
        }
    }

    fn key_property(&mut self, element: &Value, key: &str, path: &str) {
        let Some(property) = element["properties"].get(key) else { return };
        let place = property_path(&format!("{path}.items"), key);
        if !items(element, "required").iter().any(|r| r == key) && property.get("default").is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            self.causes.push(Cause::required(format!("{place}.default"), detail));
        }
        if flag(property, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            self.causes.push(Cause::forbidden(format!("{place}.nullable"), detail));
        }
    }
}

/// Where the property `name` is.
fn below(place: Place, name: &str) -> Place {
    let defaults = match (place.root, name) {
        (true, "metadata") => Defaults::Forbidden("in top-level metadata"),
        (true, "kind") => Defaults::Forbidden("in top-level kind"),
        (true, "apiVersion") => Defaults::Forbidden("in top-level apiVersion"),
        _ => place.defaults,
    };
    Place { root: false, defaults }
}
