//! Structural schemas: every part of an object has one type, said in one place, and combinations only restrict values
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go`).

use serde_json::{Map, Value, json};

use crate::crd::pattern;
use crate::json::{items, text};
use crate::status::Cause;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What is not structural about `schema`, sorted as the real server sorts it.
pub(super) fn validate(schema: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    invariants(schema, Level::Root, path, &mut causes);
    completeness(schema, Some(schema), path, path, &mut causes);
    causes.sort_by_key(|cause| format!("{}: {}", cause.field, cause.message));
    causes
}

pub(super) fn flag(schema: &Value, key: &str) -> bool {
    schema[key] == true
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

pub(super) fn property_path(path: &str, name: &str) -> String {
    format!("{path}.properties[{name}]")
}

fn invariants(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let kind = text(schema, "type");
    if kind == "array" && !schema["items"].is_object() {
        causes.push(Cause::required(format!("{path}.items"), "must be specified"));
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], Level::Item, &format!("{path}.items"), causes);
    }
    for (name, property) in properties(schema) {
        invariants(property, Level::Field, &property_path(path, name), causes);
    }
    additional(schema, level, path, causes);
    extensions(schema, path, causes);
    let skip = Skip {
        any_of: is_int_or_string(&schema["anyOf"]),
        first: is_int_or_string(&schema["allOf"][0]["anyOf"]),
    };
    values(schema, skip, level, path, causes);
    types(schema, level, path, causes);
    whole_objects(schema, level, path, causes);
}

fn additional(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let place = format!("{path}.additionalProperties");
    let said = &schema["additionalProperties"];
    if said.is_null() {
        return;
    }
    if level == Level::Root {
        causes.push(Cause::forbidden(&place, "must not be used at the root"));
    }
    if said.is_object() {
        invariants(said, Level::Field, &place, causes);
    }
    if flag(schema, "x-kubernetes-embedded-resource") {
        causes.push(Cause::forbidden(place, "must not be used if x-kubernetes-embedded-resource is set"));
    }
}

fn extensions(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !flag(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if flag(schema, key) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            causes.push(Cause::invalid_value(format!("{path}.{key}"), &json!(true), detail));
        }
    }
}

fn types(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let (kind, field) = (text(schema, "type"), format!("{path}.type"));
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let untyped =
        flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        causes.push(if kind.is_empty() {
            Cause::required(&field, detail)
        } else {
            Cause::invalid(&field, kind, detail)
        });
    } else if kind.is_empty() && !untyped {
        let what = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        causes.push(Cause::required(&field, &format!("must not be empty {what}")));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        causes.push(Cause::invalid(field, kind, "must be object at the root"));
    }
}

fn whole_objects(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let whole = level == Level::Root || embedded;
    for key in ["kind", "apiVersion"].into_iter().filter(|_| whole) {
        if let Some(property) = schema["properties"].get(key).filter(|p| text(p, "type") != "string") {
            let field = format!("{}.type", property_path(path, key));
            causes.push(Cause::invalid(field, text(property, "type"), "must be string"));
        }
    }
    if let Some(metadata) = schema["properties"].get("metadata") {
        let field = property_path(path, "metadata");
        if whole && text(metadata, "type") != "object" {
            causes.push(Cause::invalid(format!("{field}.type"), text(metadata, "type"), "must be object"));
        }
        if level == Level::Root && !restricts_names_only(metadata) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            causes.push(Cause::forbidden(field, detail));
        }
    }
    let described = schema["properties"].as_object().is_some_and(|p| !p.is_empty());
    if embedded && !flag(schema, "x-kubernetes-preserve-unknown-fields") && !described {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        causes.push(Cause::required(format!("{path}.properties"), detail));
    }
}

fn restricts_names_only(metadata: &Value) -> bool {
    let Some(fields) = metadata.as_object() else { return false };
    let others = fields.keys().any(|key| !["type", "properties", "default"].contains(&key.as_str()));
    let names = properties(metadata).all(|(name, _)| ["name", "generateName"].contains(&name.as_str()));
    !others && names
}

/// `anyOf` of an integer and a string: how int-or-string is told to others.
fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

/// What the well-known way to say int-or-string exempts.
#[derive(Clone, Copy, Default)]
struct Skip {
    any_of: bool,
    first: bool,
}

fn values(schema: &Value, skip: Skip, level: Level, path: &str, causes: &mut Vec<Cause>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && skip.any_of {
            continue;
        }
        for (n, nested) in items(schema, key).iter().enumerate() {
            let inner = Skip { any_of: key == "allOf" && n == 0 && skip.first, first: false };
            restriction(nested, inner, level, &format!("{path}.{key}[{n}]"), causes);
        }
    }
    if schema["not"].is_object() {
        restriction(&schema["not"], Skip::default(), level, &format!("{path}.not"), causes);
    }
    let wanted = text(schema, "pattern");
    if let Err(why) = pattern::check(wanted) {
        let detail = format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        causes.push(Cause::invalid(format!("{path}.pattern"), wanted, &detail));
    }
}

/// A part of a combination, which may say nothing about types.
fn restriction(schema: &Value, skip: Skip, level: Level, path: &str, causes: &mut Vec<Cause>) {
    values(schema, skip, level, path, causes);
    if schema["items"].is_object() {
        restriction(&schema["items"], Skip::default(), level, &format!("{path}.items"), causes);
    }
    for (name, property) in properties(schema) {
        restriction(property, Skip::default(), Level::Field, &property_path(path, name), causes);
    }
    let empty = Map::new();
    let fields = schema.as_object().unwrap_or(&empty);
    for (key, demand) in [
        ("type", "must be empty"),
        ("additionalProperties", "must be undefined"),
        ("default", "must be undefined"),
        ("title", "must be empty"),
        ("description", "must be empty"),
        ("nullable", "must be false"),
        ("x-kubernetes-preserve-unknown-fields", "must be false"),
        ("x-kubernetes-embedded-resource", "must be false"),
        ("x-kubernetes-int-or-string", "must be false"),
        ("x-kubernetes-list-map-keys", "must be empty"),
        ("x-kubernetes-list-type", "must be undefined"),
        ("x-kubernetes-map-type", "must be undefined"),
        ("x-kubernetes-validations", "must be empty"),
    ] {
        let said = fields
            .get(key)
            .filter(|value| !value.is_null() && **value != json!(false) && **value != json!(""));
        if said.is_some() {
            causes.push(Cause::forbidden(format!("{path}.{key}"), &format!("{demand} to be structural")));
        }
    }
    if level == Level::Root && schema["properties"].get("metadata").is_some() {
        let detail = "must not be specified in a nested context";
        causes.push(Cause::forbidden(property_path(path, "metadata"), detail));
    }
}

/// Every part that a combination restricts is described outside of combinations too.
fn completeness(restricted: &Value, schema: Option<&Value>, at: &str, from: &str, causes: &mut Vec<Cause>) {
    let mut nested: Vec<(String, &Value)> = Vec::new();
    if restricted["not"].is_object() {
        nested.push((format!("{from}.not"), &restricted["not"]));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let parts = items(restricted, key).iter().enumerate();
        nested.extend(parts.map(|(n, part)| (format!("{from}.{key}[{n}]"), part)));
    }
    for (from, part) in nested {
        complete(part, schema, at, &from, causes);
    }
}

fn complete(part: &Value, schema: Option<&Value>, at: &str, from: &str, causes: &mut Vec<Cause>) {
    let Some(described) = schema else {
        causes.push(Cause::required(at, &format!("because it is defined in {from}")));
        return;
    };
    completeness(part, schema, at, from, causes);
    if part["items"].is_object() {
        let inner = Some(&described["items"]).filter(|items| items.is_object());
        complete(&part["items"], inner, &format!("{at}.items"), &format!("{from}.items"), causes);
    }
    for (name, property) in properties(part) {
        let inner = described["properties"].get(name);
        complete(property, inner, &property_path(at, name), &property_path(from, name), causes);
    }
}
