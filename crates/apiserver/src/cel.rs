//! CEL, the Common Expression Language, as Kubernetes speaks it: expressions are parsed (by the crate `cel`, whose grammar is
//! that of the reference implementation), checked against the types of their variables, and evaluated within a budget. The
//! evaluator is our own, because no crate's has a budget, Kubernetes' libraries, or its messages. Pure.

mod calls;
mod check;
mod convert;
mod duration;
mod eval;
mod lists;
mod macros;
mod network;
mod operators;
mod sets;
mod signatures;
mod strings;
mod times;
mod types;
mod value;

#[cfg(test)]
mod tests;

use cel::Env;
use cel::common::ast::{IdedExpr, SourceInfo};

pub(crate) use self::convert::{dynamic, of_node};
pub(crate) use self::duration::parse as parse_go_duration;
pub(crate) use self::eval::{Budget, EvalError};
pub(crate) use self::types::Type;
pub(crate) use self::value::Value;

/// A variable of an expression, and its type.
#[derive(Debug, Clone)]
pub(crate) struct Variable<'n> {
    pub(crate) name: &'static str,
    pub(crate) kind: Type<'n>,
}

/// A checked expression.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    expression: IdedExpr,
    /// The variables that it mentions.
    mentioned: Vec<String>,
}

impl Program {
    /// True if the expression mentions the variable `name`.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.mentioned.iter().any(|mentioned| mentioned == name)
    }
}

/// Parses and checks `source`; answers the program and the type of its value. Errors are the compiler's words, with the
/// place in the source.
pub(crate) fn compile<'n>(source: &str, variables: &[Variable<'n>]) -> Result<(Program, Type<'n>), String> {
    let parser = Env::default().parser().enable_optional_syntax(true).enable_ident_escape_syntax(true);
    let parsed = parser.parse_with_source_info(source);
    let (expression, places) = parsed.map_err(|errors| {
        let told = errors.errors.iter().map(|error| {
            let (line, column) = error.pos;
            report(
                source,
                (usize::try_from(line).unwrap_or(1), usize::try_from(column).unwrap_or(1)),
                &error.msg,
            )
        });
        told.collect::<Vec<_>>().join("\n")
    })?;
    let checked = check::check(&expression, variables);
    if checked.errors.is_empty() {
        return Ok((Program { expression, mentioned: checked.mentioned }, checked.kind));
    }
    let told =
        checked.errors.iter().map(|error| report(source, place(source, &places, error.id), &error.message));
    Err(told.collect::<Vec<_>>().join("\n"))
}

/// Line and column, from 1, of an expression.
fn place(source: &str, places: &SourceInfo, id: u64) -> (usize, usize) {
    let start = places.offset_for(id).map_or(0, |(start, _)| start as usize);
    let before: String = source.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn report(source: &str, (line, column): (usize, usize), message: &str) -> String {
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let dots = ".".repeat(column.saturating_sub(1));
    format!("ERROR: <input>:{line}:{column}: {message}\n | {text}\n | {dots}^")
}
