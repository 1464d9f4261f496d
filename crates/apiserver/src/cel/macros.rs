//! Calls that are not calls: `has`, comprehensions, `optMap`. The parser leaves them as they are written; checker and
//! evaluator ask here what they mean.

use cel::common::ast::{CallExpr, Expr, IdedExpr, SelectExpr};

/// What a comprehension makes of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loop {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// A list of what each element becomes.
    Map,
    /// A map of what each value becomes, with the same keys.
    TransformMap,
    /// A map from the entries that each element becomes.
    TransformEntries,
}

/// A comprehension: its variables, perhaps a condition, and what is asked of each element.
pub(super) struct Comprehension<'e> {
    pub(super) kind: Loop,
    pub(super) range: &'e IdedExpr,
    pub(super) variables: Vec<&'e str>,
    pub(super) condition: Option<&'e IdedExpr>,
    pub(super) body: &'e IdedExpr,
}

/// A macro.
pub(super) enum Macro<'e> {
    Has(&'e SelectExpr),
    Comprehension(Comprehension<'e>),
    /// `optMap`, or `optFlatMap` if flat.
    Optional {
        flat: bool,
        target: &'e IdedExpr,
        variable: &'e str,
        body: &'e IdedExpr,
    },
}

/// The macro that `call` is, if it is one.
pub(super) fn of(call: &CallExpr) -> Option<Macro<'_>> {
    let Some(target) = call.target.as_deref() else { return has(call) };
    let names: Vec<&str> = call.args.iter().map_while(name).collect();
    let count = call.args.len();
    let optional = ["optMap", "optFlatMap"].contains(&call.func_name.as_str());
    if optional && count == 2 && !names.is_empty() {
        let flat = call.func_name == "optFlatMap";
        return Some(Macro::Optional { flat, target, variable: names[0], body: &call.args[1] });
    }
    let (kind, variables, conditioned) = match (call.func_name.as_str(), count) {
        ("all", 2) => (Loop::All, 1, false),
        ("all", 3) => (Loop::All, 2, false),
        ("exists", 2) => (Loop::Exists, 1, false),
        ("exists", 3) => (Loop::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (Loop::ExistsOne, 1, false),
        ("exists_one" | "existsOne", 3) => (Loop::ExistsOne, 2, false),
        ("filter", 2) => (Loop::Filter, 1, false),
        ("map", 2) => (Loop::Map, 1, false),
        ("map", 3) => (Loop::Map, 1, true),
        ("transformList", 3) => (Loop::Map, 2, false),
        ("transformList", 4) => (Loop::Map, 2, true),
        ("transformMap", 3) => (Loop::TransformMap, 2, false),
        ("transformMap", 4) => (Loop::TransformMap, 2, true),
        ("transformMapEntry", 3) => (Loop::TransformEntries, 2, false),
        ("transformMapEntry", 4) => (Loop::TransformEntries, 2, true),
        _ => return None,
    };
    if names.len() < variables {
        return None;
    }
    let condition = conditioned.then(|| &call.args[variables]);
    Some(Macro::Comprehension(Comprehension {
        kind,
        range: target,
        variables: names[..variables].to_vec(),
        condition,
        body: &call.args[count - 1],
    }))
}

fn name(expression: &IdedExpr) -> Option<&str> {
    if let Expr::Ident(name) = &expression.expr { Some(name) } else { None }
}

fn has(call: &CallExpr) -> Option<Macro<'_>> {
    match (call.func_name.as_str(), call.args.as_slice()) {
        ("has", [IdedExpr { expr: Expr::Select(select), .. }]) => Some(Macro::Has(select)),
        _ => None,
    }
}
