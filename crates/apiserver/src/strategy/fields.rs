//! What single fields may hold, whichever kind they are in: labels, ports, addresses, choices. Words are the real server's
//! (`k8s.io/apimachinery/pkg/util/validation`).

use std::net::IpAddr;

use serde_json::{Value, json};

use super::NameRule;
use crate::json::{at, items, text};
use crate::selector::{is_label_key, is_label_value};
use crate::status::Cause;

const LABEL_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PORT: &str = "must be between 1 and 65535, inclusive";
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// A value that must be there and follow `rule`.
pub(crate) fn name(field: &str, value: &str, rule: NameRule) -> Option<Cause> {
    if value.is_empty() {
        return Some(Cause::required(field, ""));
    }
    named(field, value, rule)
}

/// A value that follows `rule` if it is there.
pub(crate) fn named(field: &str, value: &str, rule: NameRule) -> Option<Cause> {
    let complaint = rule.complaint(value).filter(|_| !value.is_empty())?;
    Some(Cause::invalid(field, value, &complaint))
}

/// A text that must be there.
pub(crate) fn present(object: &Value, path: &str, field: &str) -> Option<Cause> {
    text(object, path).is_empty().then(|| Cause::required(field, ""))
}

/// What is wrong with the key of a label, as selectors are told.
pub(crate) fn label_key(key: &str) -> Option<String> {
    // Selectors have a word of their own for what is wrong with the whole.
    qualified(key).map(|complaint| complaint.replacen("a qualified name must", "a valid label key must", 1))
}

/// What is wrong with the value of a label.
pub(crate) fn label_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!is_label_value(value)).then_some(LABEL_VALUE)
}

/// What is wrong with a key of labels and annotations.
pub(crate) fn qualified(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or(("", key), |(prefix, name)| (prefix, name));
    if key.matches('/').count() > 1 {
        let form = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
        return Some(form.to_owned());
    }
    if key.contains('/') && prefix.is_empty() {
        return Some("prefix part must be non-empty".into());
    }
    if let Some(complaint) = NameRule::Subdomain.complaint(prefix).filter(|_| !prefix.is_empty()) {
        return Some(format!("prefix part {complaint}"));
    }
    match name {
        "" => Some("name part must be non-empty".into()),
        name if name.len() > 63 => Some("name part must be no more than 63 characters".into()),
        name if is_label_key(name) => None,
        _ => Some(LABEL_NAME.into()),
    }
}

/// A map of labels.
pub(crate) fn labels(field: &str, labels: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        if let Some(complaint) = qualified(key) {
            causes.push(Cause::invalid(field, key, &complaint));
        }
        let value = value.as_str().unwrap_or_default();
        causes.extend(label_value(value).map(|complaint| Cause::invalid(field, value, complaint)));
    }
    causes
}

/// A LabelSelector.
pub(crate) fn selector(field: &str, selector: &Value) -> Vec<Cause> {
    let mut causes = labels(&format!("{field}.matchLabels"), at(selector, "matchLabels"));
    for (e, expression) in items(selector, "matchExpressions").iter().enumerate() {
        let field = format!("{field}.matchExpressions[{e}]");
        let none = items(expression, "values").is_empty();
        match text(expression, "operator") {
            "In" | "NotIn" if none => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                causes.push(Cause::required(format!("{field}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !none => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push(Cause::forbidden(format!("{field}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                causes.push(Cause::invalid(
                    format!("{field}.operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        if let Some(complaint) = qualified(text(expression, "key")) {
            causes.push(Cause::invalid(format!("{field}.key"), text(expression, "key"), &complaint));
        }
    }
    causes
}

/// A port number.
pub(crate) fn port(field: &str, value: &Value) -> Option<Cause> {
    let fits = value.as_i64().is_some_and(|port| (1..=65_535).contains(&port));
    (!fits).then(|| Cause::invalid_value(field, value, PORT))
}

/// A port by number, or by the name that a container gives it.
pub(crate) fn port_or_name(field: &str, value: &Value) -> Option<Cause> {
    match value {
        Value::String(name) => port_name(field, name),
        number => port(field, number),
    }
}

/// The name of a container's port.
pub(crate) fn port_name(field: &str, name: &str) -> Option<Cause> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let complaint = match name {
        name if name.len() > 15 => "must be no more than 15 characters",
        name if !name.chars().all(allowed) || name.is_empty() => {
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        }
        name if !name.contains(|c: char| c.is_ascii_lowercase()) => "must contain at least one letter (a-z)",
        name if name.contains("--") => "must not contain consecutive hyphens",
        name if name.starts_with('-') || name.ends_with('-') => "must not begin or end with a hyphen",
        _ => return None,
    };
    Some(Cause::invalid(field, name, complaint))
}

/// One of some words; what is empty is required.
pub(crate) fn one_of(field: &str, value: &str, allowed: &[&str]) -> Option<Cause> {
    match value {
        "" => Some(Cause::required(field, "")),
        value if allowed.contains(&value) => None,
        value => Some(Cause::not_supported(field, &json!(value), allowed)),
    }
}

/// A number that is not negative, if it is there.
pub(crate) fn not_negative(object: &Value, path: &str, field: &str) -> Option<Cause> {
    let value = at(object, path)?;
    let negative = value.as_i64().is_some_and(|number| number < 0);
    negative.then(|| Cause::invalid_value(field, value, "must be greater than or equal to 0"))
}

/// An IP address.
pub(crate) fn ip(field: &str, value: &str) -> Option<Cause> {
    value.parse::<IpAddr>().is_err().then(|| Cause::invalid(field, value, IP))
}

/// A prefix in CIDR notation.
pub(crate) fn cidr(field: &str, value: &str) -> Option<Cause> {
    let fits = value.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    (!fits).then(|| Cause::invalid(field, value, CIDR))
}

/// A key of a config map or secret.
pub(crate) fn config_key(field: &str, key: &str) -> Option<Cause> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let complaint = match key {
        key if key.len() > 253 => "must be no more than 253 characters",
        "." => "must not be '.'",
        ".." => "must not be '..'",
        key if key.starts_with("..") => "must not start with '..'",
        key if key.is_empty() || !key.chars().all(allowed) => CONFIG_KEY,
        _ => return None,
    };
    Some(Cause::invalid(field, key, complaint))
}

/// A share such as `25%`, or a count.
pub(crate) fn share_or_count(field: &str, value: Option<&Value>) -> Option<Cause> {
    match value? {
        Value::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            let fits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            (!fits).then(|| Cause::invalid(field, text, detail))
        }
        number => {
            let negative = number.as_i64().is_some_and(|n| n < 0);
            negative.then(|| Cause::invalid_value(field, number, "must be greater than or equal to 0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_numbers_or_names() {
        assert!(port_or_name("p", &json!("http-2")).is_none() && port_or_name("p", &json!(80)).is_none());
        for wrong in [
            json!(0),
            json!(65_536),
            json!("80"),
            json!("Web"),
            json!("a--b"),
            json!("-a"),
            json!("much-too-long-name"),
        ] {
            assert!(port_or_name("p", &wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn keys_say_what_is_wrong_with_them() {
        assert_eq!(qualified("example.com/a"), None);
        assert_eq!(qualified("a/"), Some("name part must be non-empty".into()));
        assert!(qualified("A_b/c").unwrap().starts_with("prefix part a lowercase RFC 1123"));
        assert_eq!(qualified("-a").as_deref(), Some(LABEL_NAME));
    }

    #[test]
    fn prefixes_and_addresses_are_read_strictly() {
        assert!(cidr("c", "10.0.0.0/8").is_none() && cidr("c", "fd00::/64").is_none());
        for wrong in ["x", "10.0.0.0", "10.0.0.0/33", "10.0.0/8"] {
            assert!(cidr("c", wrong).is_some(), "{wrong}");
        }
        assert!(ip("i", "fd00::1").is_none() && ip("i", "10.0.0").is_some());
    }
}
