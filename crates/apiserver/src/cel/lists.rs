//! Functions on lists.

use std::cmp::Ordering;
use std::rc::Rc;

use super::eval::{EvalError, no_overload};
use super::operators;
use super::strings;
use super::value::{Identity, Value};

type Outcome = Result<Value, EvalError>;

/// Elements that a made list may have.
const LONGEST: i64 = 100_000;

pub(super) fn call(name: &str, items: &[Value], arguments: &[Value]) -> Outcome {
    let number = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let place = |found: Option<usize>| found.map_or(Value::Int(-1), number);
    match (name, arguments) {
        ("size", []) => Ok(number(items.len())),
        ("isSorted", []) => {
            let sorted = items.windows(2).try_fold(true, |sorted, pair| {
                pair[0].order(&pair[1]).map(|order| sorted && order.is_le()).ok_or_else(no_overload)
            });
            sorted.map(Value::Bool)
        }
        ("sum", []) => sum(items),
        ("min", []) => extreme("min", items, Ordering::Less),
        ("max", []) => extreme("max", items, Ordering::Greater),
        ("indexOf", [value]) => Ok(place(items.iter().position(|item| item == value))),
        ("lastIndexOf", [value]) => Ok(place(items.iter().rposition(|item| item == value))),
        ("join", []) => strings::join(items, ""),
        ("join", [Value::Text(separator)]) => strings::join(items, separator),
        ("distinct", []) => Ok(distinct(items)),
        ("reverse", []) => Ok(Value::list(items.iter().rev().cloned().collect())),
        ("sort", []) => sorted(items),
        ("flatten", []) => Ok(Value::list(flatten(items, 1))),
        ("flatten", [Value::Int(depth)]) => Ok(Value::list(flatten(items, *depth))),
        ("first", []) => Ok(Value::Optional(items.first().cloned().map(Rc::new))),
        ("last", []) => Ok(Value::Optional(items.last().cloned().map(Rc::new))),
        ("slice", [Value::Int(start), Value::Int(end)]) => slice(items, *start, *end),
        _ => Err(no_overload()),
    }
}

fn sum(items: &[Value]) -> Outcome {
    let Some(first) = items.first() else { return Ok(Value::Int(0)) };
    items[1..].iter().try_fold(first.clone(), |sum, item| {
        operators::apply("_+_", &[sum, item.clone()]).unwrap_or_else(|| Err(no_overload()))
    })
}

fn extreme(name: &str, items: &[Value], wanted: Ordering) -> Outcome {
    let empty = || EvalError::new(format!("{name} called on empty list"));
    let first = items.first().ok_or_else(empty)?;
    items.iter().try_fold(first.clone(), |best, item| {
        let order = item.order(&best).ok_or_else(no_overload)?;
        Ok(if order == wanted { item.clone() } else { best })
    })
}

fn distinct(items: &[Value]) -> Value {
    let mut seen: Vec<Value> = Vec::new();
    for item in items {
        if !seen.contains(item) {
            seen.push(item.clone());
        }
    }
    Value::list(seen)
}

fn sorted(items: &[Value]) -> Outcome {
    if items.windows(2).any(|pair| pair[0].order(&pair[1]).is_none()) {
        return Err(EvalError::new("list elements must be comparable"));
    }
    let mut items = items.to_vec();
    items.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
    Ok(Value::list(items))
}

fn flatten(items: &[Value], depth: i64) -> Vec<Value> {
    items
        .iter()
        .flat_map(|item| match item {
            Value::List(inner, _) if depth > 0 => flatten(inner, depth - 1),
            other => vec![other.clone()],
        })
        .collect()
}

fn slice(items: &[Value], start: i64, end: i64) -> Outcome {
    let bad = || EvalError::new(format!("cannot slice({start}, {end}), list is length {}", items.len()));
    let from = usize::try_from(start).map_err(|_| bad())?;
    let to = usize::try_from(end).map_err(|_| bad())?;
    items.get(from..to).map(|part| Value::list(part.to_vec())).ok_or_else(bad)
}

/// `lists.range(n)`.
pub(super) fn range(length: i64) -> Outcome {
    if length > LONGEST {
        return Err(EvalError::new(format!("lists.range: size {length} exceeds {LONGEST}")));
    }
    Ok(Value::List(Rc::new((0..length).map(Value::Int).collect()), Identity::Place))
}
