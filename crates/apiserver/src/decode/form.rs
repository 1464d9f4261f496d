//! The form in which the real server stores and answers objects of its own types: what reading them into its types and
//! writing them again makes of them. Absent and empty are one for most fields; some are always written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::schema::{Kind, Node};

/// Brings an object, and everything in it, into that form.
pub(crate) fn object(node: &Node, value: &mut Value) {
    let Value::Object(map) = value else { return };
    if node.is_free() {
        return;
    }
    if let Some(values) = node.values() {
        map.values_mut().for_each(|value| element(values, value));
        return;
    }
    for (name, property) in node.properties() {
        field(map, name, property);
    }
}

/// An element of a list or map: it is written whatever it is, with the zero of its type for null.
fn element(node: &Node, value: &mut Value) {
    if value.is_null() {
        *value = zero(node);
    }
    below(node, value);
}

fn below(node: &Node, value: &mut Value) {
    match value {
        Value::Object(_) => object(node, value),
        Value::Array(list) => {
            if let Some(items) = node.items() {
                list.iter_mut().for_each(|value| element(items, value));
            }
        }
        _ => {}
    }
}

fn field(map: &mut Map<String, Value>, name: &str, node: &Node) {
    let present = map.get_mut(name).filter(|value| !value.is_null());
    match present {
        Some(value) => {
            below(node, value);
            // No entries are not the same as an empty list of entries, which asks for a new start.
            if name != "managedFields" && is_left_out(node, value) {
                map.remove(name);
            }
        }
        None => {
            map.remove(name);
            if let Some(mut value) = written_when_absent(node) {
                below(node, &mut value);
                map.insert(name.into(), value);
            }
        }
    }
}

/// True for what reads like an absent field.
fn is_left_out(node: &Node, value: &Value) -> bool {
    if node.is_always_written() {
        return false;
    }
    match value {
        Value::Array(list) => list.is_empty() && !node.is_pointer(),
        Value::Object(map) => map.is_empty() && node.reference().is_none() && !node.is_pointer(),
        Value::String(text) => text.is_empty() && !node.is_pointer() && !node.is_int_or_string(),
        Value::Bool(flag) => !flag && !node.is_pointer(),
        Value::Number(number) => {
            number.as_f64() == Some(0.0) && !node.is_pointer() && !node.is_int_or_string()
        }
        Value::Null => true,
    }
}

/// What stands for an absent field, if anything does.
fn written_when_absent(node: &Node) -> Option<Value> {
    if node.is_pointer() {
        return node.is_always_written().then_some(Value::Null);
    }
    match node.reference().map(|definition| definition.short_name()) {
        // Types of the real server that are never empty as far as its encoder is concerned.
        Some("Time" | "MicroTime") => Some(Value::Null),
        Some("Quantity") => Some(json!("0")),
        Some("IntOrString") => Some(json!(0)),
        Some(_) if is_structure(node) => Some(json!({})),
        _ => node.is_always_written().then(|| zero(node)),
    }
}

/// A value of a type with named fields; maps and plain types are none.
fn is_structure(node: &Node) -> bool {
    node.default_value().is_some_and(|value| *value == json!({})) && node.properties().next().is_some()
}

fn zero(node: &Node) -> Value {
    match node.kind() {
        Kind::String => json!(""),
        Kind::Integer | Kind::Number => json!(0),
        Kind::Boolean => json!(false),
        Kind::Object if is_structure(node) || node.properties().next().is_some() => json!({}),
        _ => Value::Null,
    }
}

/// A text of a type that has one way of writing it: `Ok(None)` if any text will do, `Err` if this one is no such value.
pub(super) fn text(node: &Node, given: &str) -> Result<Option<String>, String> {
    match (node.format(), node.reference().map(|definition| definition.short_name())) {
        ("date-time", Some(kind)) => moment(kind, given).map(Some),
        ("byte", _) => bytes(given).map(|()| None),
        _ => Ok(None),
    }
}

fn moment(kind: &str, given: &str) -> Result<String, String> {
    let parsed: Result<Timestamp, _> = given.parse();
    let (layout, format) = match kind {
        "MicroTime" => ("2006-01-02T15:04:05.000000Z07:00", "%Y-%m-%dT%H:%M:%S.%6fZ"),
        _ => ("2006-01-02T15:04:05Z07:00", "%Y-%m-%dT%H:%M:%SZ"),
    };
    if kind == "MicroTime" && parsed.is_ok() && !has_micros(given) {
        return Err(format!("parsing time {given:?} as {layout:?}: cannot parse \"Z\" as \".000000\""));
    }
    parsed
        .map(|moment| moment.strftime(format).to_string())
        .map_err(|_| format!("parsing time {given:?} as {layout:?}: cannot parse {given:?} as \"2006\""))
}

/// Six digits after the seconds, as the real server insists.
fn has_micros(given: &str) -> bool {
    let fraction = given.split_once('.').map_or("", |(_, rest)| rest);
    fraction.bytes().take_while(u8::is_ascii_digit).count() == 6
}

fn bytes(given: &str) -> Result<(), String> {
    match STANDARD.decode(given) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", given.len() / 4 * 4)),
    }
}
