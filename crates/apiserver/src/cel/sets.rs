//! `sets.contains`, `sets.equivalent`, `sets.intersects`.

use super::eval::{EvalError, no_overload};
use super::value::Value;

pub(super) fn call(name: &str, a: &[Value], b: &[Value]) -> Result<Value, EvalError> {
    let all_in = |part: &[Value], whole: &[Value]| part.iter().all(|value| whole.contains(value));
    Ok(Value::Bool(match name {
        "sets.contains" => all_in(b, a),
        "sets.equivalent" => all_in(a, b) && all_in(b, a),
        "sets.intersects" => b.iter().any(|value| a.contains(value)),
        _ => return Err(no_overload()),
    }))
}
