//! The scale sub-resource: a view of three fields that the definition names. Pure.

use serde_json::{Map, Value, json};

use crate::json::{at, text};
use crate::status::{Cause, Status};

/// Where the fields of a Scale are in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    spec_replicas: String,
    status_replicas: String,
    label_selector: String,
}

impl Scale {
    /// From `subresources.scale` of a version.
    pub(super) fn read(scale: &Value) -> Option<Self> {
        let path = |key: &str| text(scale, key).to_owned();
        scale.is_object().then(|| Self {
            spec_replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            label_selector: path("labelSelectorPath"),
        })
    }

    /// Of the built-in kinds that have one, which all name the fields alike.
    pub(crate) fn builtin() -> Self {
        let path = |text: &str| text.to_owned();
        Self {
            spec_replicas: path(".spec.replicas"),
            status_replicas: path(".status.replicas"),
            label_selector: path(".spec.selector"),
        }
    }

    /// The object as a Scale, and whether it says how many replicas it wants.
    pub(crate) fn view(&self, object: &Value) -> Result<(Value, bool), Status> {
        let wanted = replicas(object, &self.spec_replicas).map_err(Status::internal)?;
        let there = replicas(object, &self.status_replicas).map_err(Status::internal)?;
        let mut status = json!({"replicas": there.unwrap_or(0)});
        if let Some(selector) = at(object, trimmed(&self.label_selector)).and_then(selector_text) {
            status["selector"] = json!(selector);
        }
        let mut metadata = Map::new();
        for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object["metadata"].get(key) {
                metadata.insert(key.into(), value.clone());
            }
        }
        let mut spec = json!({});
        if let Some(count) = wanted.filter(|count| *count != 0) {
            spec["replicas"] = json!(count);
        }
        let scale = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status,
        });
        Ok((scale, wanted.is_some()))
    }

    /// That the spec's field is not there.
    pub(crate) fn missing(&self) -> Status {
        Status::internal(format!("the spec replicas field {:?} does not exist", self.spec_replicas))
    }

    /// The object with what a client wrote as its Scale.
    pub(crate) fn apply(&self, object: &Value, scale: &Value) -> Result<Value, Status> {
        let wanted = at(scale, "spec.replicas");
        let wanted = match wanted {
            None => 0,
            Some(count) => {
                count.as_i64().ok_or_else(|| Status::bad_request("spec.replicas must be a whole number"))?
            }
        };
        let mut object = object.clone();
        let mut place = &mut object;
        for key in trimmed(&self.spec_replicas).split('.') {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[key];
        }
        *place = json!(wanted);
        let version = text(scale, "metadata.resourceVersion");
        if !version.is_empty() {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        Ok(object)
    }

    pub(super) fn validate_spec(&self, object: &Value) -> Option<Cause> {
        checked(object, &self.spec_replicas)
    }

    pub(super) fn validate_status(&self, object: &Value) -> Vec<Cause> {
        let mut causes: Vec<Cause> = checked(object, &self.status_replicas).into_iter().collect();
        let selector = at(object, trimmed(&self.label_selector));
        if let Some(other) = selector.filter(|selector| !selector.is_string()) {
            let detail = format!(
                "{} accessor error: {other} is of the type {}, expected string",
                self.label_selector,
                go_type(other)
            );
            causes.push(Cause::invalid(&self.label_selector, "", &detail));
        }
        causes
    }
}

fn trimmed(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn replicas(object: &Value, path: &str) -> Result<Option<i64>, String> {
    let Some(value) = at(object, trimmed(path)) else { return Ok(None) };
    let wrong =
        || format!("{path} accessor error: {value} is of the type {}, expected int64", go_type(value));
    value.as_i64().map(Some).ok_or_else(wrong)
}

fn checked(object: &Value, path: &str) -> Option<Cause> {
    let detail = match replicas(object, path) {
        Err(why) => return Some(Cause::invalid_value(path, &json!(0), &why)),
        Ok(Some(count)) if count < 0 => (count, "should be a non-negative integer".to_owned()),
        Ok(Some(count)) if count > i64::from(i32::MAX) => {
            (count, format!("should be less than or equal to {}", i32::MAX))
        }
        Ok(_) => return None,
    };
    Some(Cause::invalid_value(path, &json!(detail.0), &detail.1))
}

/// A selector as text: as it is, or what a map or a LabelSelector of a built-in kind says.
fn selector_text(selector: &Value) -> Option<String> {
    match selector {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields)
            if fields.contains_key("matchLabels") || fields.contains_key("matchExpressions") =>
        {
            Some(crate::selector::requirements(selector).join(","))
        }
        Value::Object(labels) => Some(
            labels
                .iter()
                .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(","),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Scale {
        let paths = json!({"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.l"});
        Scale::read(&paths).unwrap()
    }

    #[test]
    fn an_object_is_seen_and_changed_through_its_scale() {
        let object = json!({"metadata": {"name": "a", "uid": "u", "labels": {}}, "spec": {"n": 3}, "status": {"n": 2, "l": "a=b"}});
        let (view, found) = scale().view(&object).unwrap();
        assert!(found);
        assert_eq!(view["metadata"], json!({"name": "a", "uid": "u"}));
        assert_eq!(
            (&view["spec"], &view["status"]),
            (&json!({"replicas": 3}), &json!({"replicas": 2, "selector": "a=b"}))
        );
        let changed = scale().apply(&object, &json!({"spec": {"replicas": 5}})).unwrap();
        assert_eq!(changed["spec"]["n"], 5);
    }

    #[test]
    fn counts_are_counts() {
        let causes = scale().validate_spec(&json!({"spec": {"n": -1}})).unwrap();
        assert_eq!(
            (causes.field.as_str(), causes.message.as_str()),
            (".spec.n", "Invalid value: -1: should be a non-negative integer")
        );
        assert!(scale().validate_spec(&json!({"spec": {"n": "x"}})).is_some());
        assert!(scale().validate_spec(&json!({})).is_none());
    }
}
