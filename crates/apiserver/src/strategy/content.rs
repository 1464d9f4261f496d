//! Config maps and secrets: keys that can be files, and content that may be fixed for good.

use serde_json::{Value, json};

use super::{Strategy, fields};
use crate::json::{at, text};
use crate::status::Cause;

/// Bytes that all values may have together.
const LARGEST: usize = 1 << 20;
const FIXED: &str = "field is immutable when `immutable` is set";

/// ConfigMaps.
pub(crate) struct ConfigMap;
impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for key in keys(object, "data") {
            causes.extend(fields::config_key(&format!("data[{key}]"), key));
            if at(object, "binaryData").is_some_and(|binary| binary.get(key).is_some()) {
                causes.push(Cause::invalid(
                    format!("data[{key}]"),
                    key,
                    "duplicate of key present in binaryData",
                ));
            }
        }
        for key in keys(object, "binaryData") {
            causes.extend(fields::config_key(&format!("binaryData[{key}]"), key));
        }
        causes.extend(too_long(size(object, "data", 1) + size(object, "binaryData", 4) * 3, ""));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        fixed(new, old, &["data", "binaryData"])
    }
}

/// Secrets.
pub(crate) struct Secret;
impl Strategy for Secret {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes: Vec<Cause> =
            keys(object, "data").filter_map(|key| fields::config_key(&format!("data[{key}]"), key)).collect();
        causes.extend(too_long(size(object, "data", 4) * 3, "data"));
        causes.extend(by_type(object));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = fixed(new, old, &["data"]);
        if text(new, "type") != text(old, "type") {
            causes.insert(0, Cause::invalid("type", text(new, "type"), "field is immutable"));
        }
        causes
    }
}

fn keys<'o>(object: &'o Value, field: &str) -> impl Iterator<Item = &'o String> {
    object.get(field).and_then(Value::as_object).into_iter().flat_map(|map| map.keys())
}

/// Bytes of the values of a map, divided.
fn size(object: &Value, field: &str, divisor: usize) -> usize {
    let values = object.get(field).and_then(Value::as_object).into_iter().flatten();
    values.map(|(_, value)| value.as_str().map_or(0, str::len)).sum::<usize>() / divisor
}

fn too_long(bytes: usize, field: &str) -> Option<Cause> {
    let message = format!("Too long: may not be more than {LARGEST} bytes");
    (bytes > LARGEST).then(|| Cause { field: field.into(), reason: "FieldValueTooLong", message })
}

fn by_type(secret: &Value) -> Vec<Cause> {
    let has = |key: &str| secret["data"].get(key).is_some();
    let required = |key: &str| Cause::required(format!("data[{key}]"), "");
    let account = "kubernetes.io/service-account.name";
    match text(secret, "type") {
        "kubernetes.io/tls" => {
            ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(required).collect()
        }
        "kubernetes.io/ssh-auth" if !has("ssh-privatekey") => vec![required("ssh-privatekey")],
        "kubernetes.io/dockercfg" => json_content(secret, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_content(secret, ".dockerconfigjson"),
        "kubernetes.io/service-account-token" if secret["metadata"]["annotations"].get(account).is_none() => {
            vec![Cause::required(format!("metadata.annotations[{account}]"), "")]
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            vec![required("username"), required("password")]
        }
        _ => Vec::new(),
    }
}

fn json_content(secret: &Value, key: &str) -> Vec<Cause> {
    use base64::Engine as _;
    let field = format!("data[{key}]");
    let Some(content) = secret["data"].get(key).and_then(Value::as_str) else {
        return vec![Cause::required(field, "")];
    };
    // Decoding has passed it as base64.
    let bytes = base64::engine::general_purpose::STANDARD.decode(content).unwrap_or_default();
    let redacted = |why: String| Cause::invalid(field.clone(), "<secret contents redacted>", &why);
    match serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        Ok(_) => Vec::new(),
        Err(_) if bytes.is_empty() => vec![redacted("unexpected end of JSON input".into())],
        Err(_) => {
            let first = char::from(bytes[0]);
            let shown =
                if first.is_ascii_graphic() { first.to_string() } else { format!("\\x{:02x}", bytes[0]) };
            vec![redacted(format!("invalid character '{shown}' looking for beginning of value"))]
        }
    }
}

fn fixed(new: &Value, old: &Value, content: &[&str]) -> Vec<Cause> {
    if old["immutable"] != json!(true) {
        return Vec::new();
    }
    let mut causes = Vec::new();
    if new["immutable"] != json!(true) {
        causes.push(Cause::forbidden("immutable", FIXED));
    }
    let changed = content.iter().filter(|key| new.get(**key) != old.get(**key));
    causes.extend(changed.map(|key| Cause::forbidden(*key, FIXED)));
    causes
}
