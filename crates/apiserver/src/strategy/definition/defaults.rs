//! Defaults in schemas are values of the type that they are defaults of.

use serde_json::Value;

use super::structural::property_path;
use crate::crd;
use crate::schema::Node;
use crate::status::Cause;

/// What is wrong with the defaults in `schema`.
pub(super) fn validate(schema: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(schema, path, &mut causes);
    causes
}

fn walk(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let place = format!("{path}.default");
        causes.extend(crd::check_default(default, &Node::parse(schema), &place));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &property_path(path, name), causes);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}.{key}"), causes);
        }
    }
}
