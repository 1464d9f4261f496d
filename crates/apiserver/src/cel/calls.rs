//! Functions by their names: conversions, and where the functions of each type are.

use std::rc::Rc;

use cel::common::ast::{CallExpr, Expr, IdedExpr, SelectExpr};

use super::eval::{EvalError, no_overload};
use super::value::Value;
use super::{duration, lists, network, sets, strings, times};
use crate::crd;
use crate::quantity::Quantity;
use crate::strategy::NameRule;

type Outcome = Result<Value, EvalError>;

/// Names that stand before functions with a dot.
const NAMESPACES: [&str; 7] = ["sets", "optional", "format", "ip", "cidr", "strings", "lists"];
const TYPES: [&str; 11] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];

/// The type that an identifier names.
pub(super) fn type_named(name: &str) -> Option<Value> {
    TYPES.contains(&name).then(|| Value::Type(name.into()))
}

/// `google.protobuf.Timestamp` and the like, where `root` is no variable.
pub(super) fn qualified(select: &SelectExpr, is_variable: impl Fn(&str) -> bool) -> Option<Value> {
    let name = path(&select.operand.expr).map(|operand| format!("{operand}.{}", select.field))?;
    let known = [
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "net.IP",
        "net.CIDR",
        "kubernetes.Quantity",
        "kubernetes.URL",
    ];
    let root = name.split('.').next().unwrap_or_default();
    (known.contains(&name.as_str()) && !is_variable(root)).then(|| Value::Type(name.into()))
}

fn path(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) => {
            path(&select.operand.expr).map(|operand| format!("{operand}.{}", select.field))
        }
        _ => None,
    }
}

/// The namespace of a call such as `sets.contains(a, b)`, where it is no variable.
pub(super) fn namespace(call: &CallExpr, is_variable: impl Fn(&str) -> bool) -> Option<String> {
    let IdedExpr { expr: Expr::Ident(name), .. } = call.target.as_deref()? else { return None };
    (NAMESPACES.contains(&name.as_str()) && !is_variable(name)).then(|| name.clone())
}

/// A function of its arguments.
pub(super) fn global(name: &str, arguments: &[Value]) -> Outcome {
    match (name, arguments) {
        ("size" | "matches", [first, rest @ ..]) => {
            member(name, &[std::slice::from_ref(first), rest].concat())
        }
        ("type", [value]) => Ok(Value::Type(value.type_name().into())),
        ("dyn", [value]) => Ok(value.clone()),
        ("bool" | "int" | "uint" | "double" | "string" | "bytes" | "duration" | "timestamp", [value]) => {
            convert(name, value)
        }
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(if value.is_zero() { Value::Optional(None) } else { Value::some(value.clone()) })
        }
        ("sets.contains" | "sets.equivalent" | "sets.intersects", [Value::List(a, _), Value::List(b, _)]) => {
            sets::call(name, a, b)
        }
        ("strings.quote", [Value::Text(text)]) => Ok(strings::quote(text)),
        ("lists.range", [Value::Int(length)]) => lists::range(*length),
        _ => kubernetes(name, arguments),
    }
}

fn kubernetes(name: &str, arguments: &[Value]) -> Outcome {
    if let (Some(format), []) = (name.strip_prefix("format."), arguments) {
        return Ok(Value::Format(format.into()));
    }
    let [Value::Text(text)] = arguments else { return Err(no_overload()) };
    let quantity = || Quantity::parse(text);
    match name {
        "quantity" => quantity().map(Value::Quantity).ok_or_else(|| {
            EvalError::new(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )
        }),
        "isQuantity" => Ok(Value::Bool(quantity().is_some())),
        "url" => network::parse_url(text).map(|url| Value::Url(Rc::new(url))).map_err(EvalError::new),
        "isURL" => Ok(Value::Bool(network::parse_url(text).is_ok())),
        "ip" => network::parse_ip(text).map(Value::Ip).map_err(EvalError::new),
        "isIP" => Ok(Value::Bool(network::parse_ip(text).is_ok())),
        "ip.isCanonical" => {
            let address = network::parse_ip(text).map_err(EvalError::new)?;
            Ok(Value::Bool(address.to_string() == **text))
        }
        "cidr" => network::parse_cidr(text).map(Value::Cidr).map_err(EvalError::new),
        "isCIDR" => Ok(Value::Bool(network::parse_cidr(text).is_ok())),
        "format.named" => Ok(if formatter(text).is_some() {
            Value::some(Value::Format(text.clone()))
        } else {
            Value::Optional(None)
        }),
        _ => Err(no_overload()),
    }
}

/// A function of its first argument.
pub(super) fn member(name: &str, arguments: &[Value]) -> Outcome {
    let [target, rest @ ..] = arguments else { return Err(no_overload()) };
    match target {
        Value::Text(text) => strings::call(name, text, rest),
        Value::List(items, _) => lists::call(name, items, rest),
        Value::Map(fields) if name == "size" && rest.is_empty() => {
            Ok(Value::Int(i64::try_from(fields.len()).unwrap_or(i64::MAX)))
        }
        Value::Bytes(bytes) if name == "size" && rest.is_empty() => {
            Ok(Value::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX)))
        }
        Value::Timestamp(moment) => match rest {
            [] => times::part(name, *moment, None),
            [Value::Text(zone)] => times::part(name, *moment, Some(zone)),
            _ => Err(no_overload()),
        },
        Value::Duration(nanos) if rest.is_empty() => times::duration_part(name, *nanos),
        Value::Optional(inner) => optional(name, inner.as_deref(), rest),
        Value::Quantity(quantity) => quantity_call(name, *quantity, rest),
        Value::Url(url) if rest.is_empty() => url.call(name),
        Value::Ip(address) if rest.is_empty() => network::ip_call(name, *address),
        Value::Cidr(prefix) => network::cidr_call(name, *prefix, rest.first()),
        Value::Format(format) if name == "validate" => validate(format, rest),
        _ => Err(no_overload()),
    }
}

fn optional(name: &str, inner: Option<&Value>, arguments: &[Value]) -> Outcome {
    match (name, inner, arguments) {
        ("hasValue", inner, []) => Ok(Value::Bool(inner.is_some())),
        ("value", Some(value), []) => Ok(value.clone()),
        ("value", None, []) => Err(EvalError::new("optional.none() dereference")),
        ("orValue", Some(value), [_]) => Ok(value.clone()),
        ("orValue", None, [other]) => Ok(other.clone()),
        ("or", Some(value), [_]) => Ok(Value::some(value.clone())),
        ("or", None, [other]) => Ok(other.clone()),
        _ => Err(no_overload()),
    }
}

fn quantity_call(name: &str, quantity: Quantity, arguments: &[Value]) -> Outcome {
    const NANO: i128 = 1_000_000_000;
    let nanos = quantity.nanos();
    let other = match arguments {
        [Value::Quantity(other)] => Some(other.nanos()),
        [Value::Int(other)] => Some(i128::from(*other) * NANO),
        _ => None,
    };
    let sign = |order: std::cmp::Ordering| order as i64;
    #[allow(clippy::cast_precision_loss, reason = "the function is called approximate")]
    Ok(match (name, other) {
        ("sign", None) => Value::Int(sign(nanos.cmp(&0))),
        ("isInteger", None) => Value::Bool(nanos % NANO == 0 && i64::try_from(nanos / NANO).is_ok()),
        ("asInteger", None) if nanos % NANO == 0 => Value::Int(
            i64::try_from(nanos / NANO).map_err(|_| EvalError::new("cannot convert value to integer"))?,
        ),
        ("asInteger", None) => return Err(EvalError::new("cannot convert value to integer")),
        ("asApproximateFloat", None) => Value::Double(nanos as f64 / 1e9),
        ("compareTo", Some(other)) => Value::Int(sign(nanos.cmp(&other))),
        ("isGreaterThan", Some(other)) => Value::Bool(nanos > other),
        ("isLessThan", Some(other)) => Value::Bool(nanos < other),
        ("add", Some(other)) => Value::Quantity(quantity.with_nanos(nanos.saturating_add(other))),
        ("sub", Some(other)) => Value::Quantity(quantity.with_nanos(nanos.saturating_sub(other))),
        _ => return Err(no_overload()),
    })
}

/// What is wrong with a text, by a format's name; `None` for formats that there are not.
fn formatter(name: &str) -> Option<fn(&str) -> Option<String>> {
    Some(match name {
        "dns1123Label" => |text| NameRule::Label.complaint(text),
        "dns1123Subdomain" => |text| NameRule::Subdomain.complaint(text),
        "dns1035Label" => |text| NameRule::Label1035.complaint(text),
        "dns1123LabelPrefix" => |text| NameRule::Label.complaint(text.strip_suffix('-').unwrap_or(text)),
        "dns1123SubdomainPrefix" => {
            |text| NameRule::Subdomain.complaint(text.strip_suffix('-').unwrap_or(text))
        }
        "dns1035LabelPrefix" => |text| NameRule::Label1035.complaint(text.strip_suffix('-').unwrap_or(text)),
        "qualifiedName" => {
            |text| (!crate::selector::is_label_key(text)).then(|| "must be a qualified name".into())
        }
        "labelValue" => {
            |text| (!crate::selector::is_label_value(text)).then(|| "must be a label value".into())
        }
        "uri" | "uuid" | "byte" | "date" | "datetime" => return checked(name),
        _ => return None,
    })
}

fn checked(name: &str) -> Option<fn(&str) -> Option<String>> {
    Some(match name {
        "uri" => |text| crd::has_format("uri", text).err(),
        "uuid" => |text| crd::has_format("uuid", text).err(),
        "byte" => |text| crd::has_format("byte", text).err(),
        "date" => |text| crd::has_format("date", text).err(),
        "datetime" => |text| crd::has_format("datetime", text).err(),
        _ => return None,
    })
}

fn validate(format: &str, arguments: &[Value]) -> Outcome {
    let [Value::Text(text)] = arguments else { return Err(no_overload()) };
    let complaint = formatter(format).ok_or_else(no_overload)?(text);
    Ok(complaint.map_or(Value::Optional(None), |why| Value::some(Value::list(vec![Value::text(why)]))))
}

fn convert(name: &str, value: &Value) -> Outcome {
    let range = |what: &str| EvalError::new(format!("{what} overflow"));
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounds are checked, or the reference implementation loses as much"
    )]
    match (name, value) {
        ("bool", Value::Bool(_))
        | ("int", Value::Int(_))
        | ("uint", Value::Uint(_))
        | ("double", Value::Double(_))
        | ("bytes", Value::Bytes(_))
        | ("duration", Value::Duration(_))
        | ("timestamp", Value::Timestamp(_)) => Ok(value.clone()),
        ("bool", Value::Text(text)) => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" | "T" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" | "F" => Ok(Value::Bool(false)),
            _ => Err(conversion("string", "bool")),
        },
        ("int", Value::Uint(n)) => i64::try_from(*n).map(Value::Int).map_err(|_| range("integer")),
        ("int", Value::Double(n)) if n.abs() < 9.2e18 => Ok(Value::Int(*n as i64)),
        ("int", Value::Double(_)) => Err(range("integer")),
        ("int", Value::Text(text)) => text.parse().map(Value::Int).map_err(|_| conversion("string", "int")),
        ("int", Value::Timestamp(moment)) => Ok(Value::Int(moment.as_second())),
        ("int", Value::Duration(nanos)) => Ok(Value::Int(*nanos)),
        ("uint", Value::Int(n)) => u64::try_from(*n).map(Value::Uint).map_err(|_| range("unsigned integer")),
        ("uint", Value::Double(n)) if *n >= 0.0 && *n < 1.8e19 => Ok(Value::Uint(*n as u64)),
        ("uint", Value::Double(_)) => Err(range("unsigned integer")),
        ("uint", Value::Text(text)) => {
            text.parse().map(Value::Uint).map_err(|_| conversion("string", "uint"))
        }
        ("double", Value::Text(text)) => {
            text.parse().map(Value::Double).map_err(|_| conversion("string", "double"))
        }
        ("double", number) => number.as_number().map(Value::Double).ok_or_else(no_overload),
        ("bytes", Value::Text(text)) => Ok(Value::Bytes(text.as_bytes().into())),
        ("duration", Value::Text(text)) => duration::parse(text)
            .map(Value::Duration)
            .ok_or_else(|| conversion("string", "google.protobuf.Duration")),
        ("timestamp", Value::Text(text)) => times::parse(text)
            .map(Value::Timestamp)
            .ok_or_else(|| conversion("string", "google.protobuf.Timestamp")),
        ("timestamp", Value::Int(seconds)) => {
            jiff::Timestamp::from_second(*seconds).map(Value::Timestamp).map_err(|_| range("timestamp"))
        }
        ("string", value) => strings::plain(value).map(Value::text).ok_or_else(no_overload),
        _ => Err(no_overload()),
    }
}

fn conversion(from: &str, to: &str) -> EvalError {
    EvalError::new(format!("type conversion error from '{from}' to '{to}'"))
}
