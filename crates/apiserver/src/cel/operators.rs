//! Operators on values: arithmetic that notices overflow, comparison, membership, indices.

use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators;

use super::eval::{EvalError, no_overload};
use super::value::{Identity, Key, Value};

type Outcome = Result<Value, EvalError>;

/// The value of an operator; `None` if `name` is none.
pub(super) fn apply(name: &str, arguments: &[Value]) -> Option<Outcome> {
    let outcome = match (name, arguments) {
        (operators::LOGICAL_NOT, [Value::Bool(value)]) => Ok(Value::Bool(!value)),
        (operators::NEGATE, [value]) => negate(value),
        (operators::EQUALS, [a, b]) => Ok(Value::Bool(a == b)),
        (operators::NOT_EQUALS, [a, b]) => Ok(Value::Bool(a != b)),
        (operators::LESS, [a, b]) => compare(a, b, |order| order.is_lt()),
        (operators::LESS_EQUALS, [a, b]) => compare(a, b, |order| order.is_le()),
        (operators::GREATER, [a, b]) => compare(a, b, |order| order.is_gt()),
        (operators::GREATER_EQUALS, [a, b]) => compare(a, b, |order| order.is_ge()),
        (operators::ADD, [a, b]) => add(a, b),
        (operators::SUBSTRACT, [a, b]) => subtract(a, b),
        (operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [a, b]) => scale(name, a, b),
        (operators::IN, [item, range]) => contains(range, item),
        (operators::INDEX, [operand, index]) => index_of(operand, index),
        (operators::OPT_INDEX, [operand, index]) => Ok(optional_index(operand, index)),
        (name, _) if name.contains('_') && name.starts_with(['_', '!', '-', '@']) => Err(no_overload()),
        _ => return None,
    };
    Some(outcome)
}

fn overflow(what: &str) -> EvalError {
    EvalError::new(format!("{what} overflow"))
}

fn negate(value: &Value) -> Outcome {
    match value {
        Value::Int(n) => n.checked_neg().map(Value::Int).ok_or_else(|| overflow("integer")),
        Value::Double(n) => Ok(Value::Double(-n)),
        Value::Duration(n) => n.checked_neg().map(Value::Duration).ok_or_else(|| overflow("integer")),
        _ => Err(no_overload()),
    }
}

fn compare(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> Outcome {
    a.order(b).map(|order| Value::Bool(holds(order))).ok_or_else(no_overload)
}

fn add(a: &Value, b: &Value) -> Outcome {
    let int = || overflow("integer");
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or_else(int),
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_add(*b).map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::Text(a), Value::Text(b)) => Ok(Value::text(format!("{a}{b}"))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        (Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration).ok_or_else(int),
        (Value::Timestamp(t), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(t)) => {
            let moved = t.checked_add(jiff::SignedDuration::from_nanos(*d));
            moved.map(Value::Timestamp).map_err(|_| overflow("timestamp"))
        }
        (Value::List(a, identity), Value::List(b, _)) => Ok(joined(a, b, identity)),
        _ => Err(no_overload()),
    }
}

/// Sets are united; of maps, elements with a key that is there take the place of what was there.
fn joined(a: &[Value], b: &[Value], identity: &Identity) -> Value {
    let mut items = a.to_vec();
    for value in b {
        let place = match identity {
            Identity::Place => None,
            Identity::Set => items.iter().position(|item| item == value),
            Identity::Keys(keys) => items.iter().position(|item| same_keys(item, value, keys)),
        };
        match place {
            Some(place) => items[place] = value.clone(),
            None => items.push(value.clone()),
        }
    }
    Value::List(Rc::new(items), identity.clone())
}

fn same_keys(a: &Value, b: &Value, keys: &[String]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| {
        let key = Key::Text(key.as_str().into());
        a.get(&key) == b.get(&key)
    })
}

fn subtract(a: &Value, b: &Value) -> Outcome {
    let int = || overflow("integer");
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_sub(*b).map(Value::Int).ok_or_else(int),
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_sub(*b).map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => a.checked_sub(*b).map(Value::Duration).ok_or_else(int),
        (Value::Timestamp(t), Value::Duration(d)) => {
            let moved = t.checked_sub(jiff::SignedDuration::from_nanos(*d));
            moved.map(Value::Timestamp).map_err(|_| overflow("timestamp"))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let nanos = i64::try_from(a.as_nanosecond() - b.as_nanosecond());
            nanos.map(Value::Duration).map_err(|_| overflow("duration"))
        }
        _ => Err(no_overload()),
    }
}

fn scale(name: &str, a: &Value, b: &Value) -> Outcome {
    let zero =
        || EvalError::new(if name == operators::MODULO { "modulus by zero" } else { "division by zero" });
    match (name, a, b) {
        (operators::MULTIPLY, Value::Int(a), Value::Int(b)) => {
            a.checked_mul(*b).map(Value::Int).ok_or_else(|| overflow("integer"))
        }
        (operators::MULTIPLY, Value::Uint(a), Value::Uint(b)) => {
            a.checked_mul(*b).map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
        }
        (operators::MULTIPLY, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        (operators::DIVIDE, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        (_, Value::Int(_), Value::Int(0)) | (_, Value::Uint(_), Value::Uint(0)) => Err(zero()),
        (operators::DIVIDE, Value::Int(a), Value::Int(b)) => {
            a.checked_div(*b).map(Value::Int).ok_or_else(|| overflow("integer"))
        }
        (operators::DIVIDE, Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a / b)),
        (operators::MODULO, Value::Int(a), Value::Int(b)) => {
            a.checked_rem(*b).map(Value::Int).ok_or_else(|| overflow("integer"))
        }
        (operators::MODULO, Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a % b)),
        _ => Err(no_overload()),
    }
}

fn contains(range: &Value, item: &Value) -> Outcome {
    match range {
        Value::List(items, _) => Ok(Value::Bool(items.contains(item))),
        Value::Map(fields) => Ok(Value::Bool(item.as_key().is_some_and(|key| fields.contains_key(&key)))),
        _ => Err(no_overload()),
    }
}

fn index_of(operand: &Value, index: &Value) -> Outcome {
    match operand {
        Value::List(items, _) => {
            let Some(Key::Int(place)) = index.as_key() else { return Err(no_overload()) };
            let found = usize::try_from(place).ok().and_then(|place| items.get(place)).cloned();
            found.ok_or_else(|| EvalError::new(format!("index out of bounds: {place}")))
        }
        Value::Map(fields) => {
            let key = index.as_key().ok_or_else(|| EvalError::new("unsupported key type"))?;
            fields.get(&key).cloned().ok_or_else(|| EvalError::new(format!("no such key: {}", key.shown())))
        }
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => Ok(optional_index(inner, index)),
        _ => Err(no_overload()),
    }
}

fn optional_index(operand: &Value, index: &Value) -> Value {
    match operand {
        Value::Optional(None) => Value::Optional(None),
        Value::Optional(Some(inner)) => optional_index(inner, index),
        other => index_of(other, index).map_or(Value::Optional(None), Value::some),
    }
}
