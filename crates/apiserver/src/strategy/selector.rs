//! Label selectors as objects: what may be wrong with them (`apimachinery/pkg/apis/meta/v1/validation`).

use serde_json::Value;

use crate::json::{items, text};
use crate::selector::{is_label_key, is_label_value};
use crate::status::Cause;

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with the LabelSelector at `field`; null is none.
pub(super) fn validate(field: &str, selector: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        let field = format!("{field}.matchLabels");
        if !is_label_key(key) {
            causes.push(Cause::invalid(&field, key, KEY));
        }
        let value = value.as_str().unwrap_or_default();
        if !is_label_value(value) {
            causes.push(Cause::invalid(&field, value, VALUE));
        }
    }
    for (n, expression) in items(selector, "matchExpressions").iter().enumerate() {
        causes.extend(requirement(&format!("{field}.matchExpressions[{n}]"), expression));
    }
    causes
}

fn requirement(field: &str, expression: &Value) -> Vec<Cause> {
    let (operator, values) = (text(expression, "operator"), items(expression, "values"));
    let mut causes = Vec::new();
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            causes.push(Cause::required(format!("{field}.values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(Cause::forbidden(format!("{field}.values"), detail));
        }
        operator if !OPERATORS.contains(&operator) => {
            causes.push(Cause::invalid(
                format!("{field}.operator"),
                operator,
                "not a valid selector operator",
            ));
        }
        _ => {}
    }
    let key = text(expression, "key");
    if !is_label_key(key) {
        causes.push(Cause::invalid(format!("{field}.key"), key, KEY));
    }
    for (n, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        if !is_label_value(value) {
            causes.push(Cause::invalid(format!("{field}.values[{n}]"), value, VALUE));
        }
    }
    causes
}
