//! `matchConditions`: whether a webhook wants to see a request, in CEL. `authorizer` is not among the variables: this server
//! has one user, who may do everything.

use serde_json::Value;

use super::Attributes;
use super::hook::Hook;
use super::review;
use crate::cel::{self, Budget, Program, Type, Variable};
use crate::json::text;
use crate::resource::Resource;
use crate::status::Status;

/// A condition, compiled.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    expression: String,
    program: Program,
}

impl Condition {
    /// Reads one that was validated; `None` if it does not compile all the same.
    pub(super) fn read(condition: &Value) -> Option<Self> {
        let expression = text(condition, "expression").to_owned();
        Some(Self { program: compile(&expression).ok()?, expression })
    }
}

/// Compiles a condition; the error is what validation says of it.
pub(crate) fn compile(expression: &str) -> Result<Program, String> {
    let variable = |name| Variable { name, kind: Type::Dyn };
    let variables = ["object", "oldObject", "request"].map(variable);
    let compiled = cel::compile(expression, &variables);
    let (program, kind) = compiled.map_err(|error| format!("compilation failed: {error}"))?;
    match kind {
        Type::Bool => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

/// True if all conditions of `hook` hold. One that is false decides, whatever others come to; otherwise an error counts as
/// the webhook's failure does.
pub(super) fn hold(hook: &Hook, request: &Attributes, resource: &Resource) -> Result<bool, Status> {
    let mut question = review::question("v1", "", request, resource);
    let asked = question["request"].take();
    let [object, old] = ["object", "oldObject"].map(|key| cel::dynamic(&asked[key]));
    let variables = [("object", object), ("oldObject", old), ("request", cel::dynamic(&asked))];
    let mut budget = Budget::for_conditions();
    let mut errors = Vec::new();
    for condition in &hook.conditions {
        match condition.program.evaluate(&variables, &mut budget) {
            Ok(cel::Value::Bool(true)) => {}
            Ok(_) => return Ok(false),
            Err(error) => {
                errors.push(format!("expression '{}' resulted in error: {error}", condition.expression));
            }
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        _ if hook.ignore_failure => Ok(false),
        [error] => Err(Status::forbidden(request.place.resource.subject(&request.name), error)),
        errors => {
            let all = format!("[{}]", errors.join(", "));
            Err(Status::forbidden(request.place.resource.subject(&request.name), &all))
        }
    }
}
