//! The checker: every name is known, every call has its arguments, before there is any value.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::Variable;
use super::calls;
use super::macros::{self, Comprehension, Loop, Macro};
use super::signatures::{self, Call};
use super::types::Type;

/// A mistake, and which expression it is in.
pub(super) struct Mistake {
    pub(super) id: u64,
    pub(super) message: String,
}

/// What the checker found.
pub(super) struct Checked<'n> {
    pub(super) kind: Type<'n>,
    pub(super) errors: Vec<Mistake>,
    /// Names of variables that occur.
    pub(super) mentioned: Vec<String>,
}

pub(super) fn check<'n>(expression: &IdedExpr, variables: &[Variable<'n>]) -> Checked<'n> {
    let scope = variables.iter().map(|variable| (variable.name.to_owned(), variable.kind.clone())).collect();
    let mut checker = Checker { scope, errors: Vec::new(), mentioned: Vec::new() };
    let kind = checker.kind(expression);
    Checked { kind, errors: checker.errors, mentioned: checker.mentioned }
}

struct Checker<'n> {
    scope: Vec<(String, Type<'n>)>,
    errors: Vec<Mistake>,
    mentioned: Vec<String>,
}

impl<'n> Checker<'n> {
    /// Notes a mistake; what is wrong may be of any type, so that one mistake is told once.
    fn wrong(&mut self, id: u64, message: String) -> Type<'n> {
        self.errors.push(Mistake { id, message });
        Type::Dyn
    }

    fn variable(&self, name: &str) -> Option<Type<'n>> {
        self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, kind)| kind.clone())
    }

    fn kind(&mut self, expression: &IdedExpr) -> Type<'n> {
        match &expression.expr {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.identifier(expression.id, name),
            Expr::Select(select) => self.select(expression.id, select),
            Expr::Call(call) => self.call(expression.id, call),
            Expr::List(list) => {
                let kinds: Vec<Type<'n>> = list.elements.iter().map(|element| self.kind(element)).collect();
                let plain = kinds.into_iter().enumerate().map(|(n, kind)| match kind {
                    Type::Optional(of) if list.optional_indices.contains(&n) => *of,
                    kind => kind,
                });
                Type::list(plain.reduce(|a, b| a.joined(&b)).unwrap_or(Type::Dyn))
            }
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(structure) => {
                let message = format!("undeclared reference to '{}' (in container '')", structure.type_name);
                self.wrong(expression.id, message)
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                self.wrong(expression.id, "unsupported expression".into())
            }
        }
    }

    fn map(&mut self, entries: &[cel::common::ast::IdedEntryExpr]) -> Type<'n> {
        let mut kinds: Option<(Type<'n>, Type<'n>)> = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let (key, value) = (self.kind(&entry.key), self.kind(&entry.value));
            let value = match value {
                Type::Optional(of) if entry.optional => *of,
                value => value,
            };
            kinds = Some(match kinds {
                None => (key, value),
                Some((keys, values)) => (keys.joined(&key), values.joined(&value)),
            });
        }
        let (keys, values) = kinds.unwrap_or((Type::Dyn, Type::Dyn));
        Type::map(keys, values)
    }

    fn identifier(&mut self, id: u64, name: &str) -> Type<'n> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(kind) = self.variable(name) {
            self.mentioned.push(name.to_owned());
            return kind;
        }
        if calls::type_named(name).is_some() {
            return Type::OfTypes;
        }
        self.wrong(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Type<'n> {
        if calls::qualified(select, |root| self.variable(root).is_some()).is_some() {
            return Type::OfTypes;
        }
        let operand = self.kind(&select.operand);
        self.field(id, &operand, &select.field)
    }

    fn field(&mut self, id: u64, operand: &Type<'n>, name: &str) -> Type<'n> {
        let selectable = match operand {
            Type::Optional(inner) => &**inner,
            other => other,
        };
        if !matches!(selectable, Type::Dyn | Type::Map(..) | Type::Object { .. } | Type::Metadata) {
            return self.wrong(id, format!("type '{operand}' does not support field selection"));
        }
        match operand.field(name) {
            Ok(kind) => kind,
            Err(()) => self.wrong(id, format!("undefined field '{name}'")),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Type<'n> {
        match macros::of(call) {
            Some(Macro::Has(select)) => {
                let operand = self.kind(&select.operand);
                self.field(id, &operand, &select.field);
                return Type::Bool;
            }
            Some(Macro::Comprehension(comprehension)) => return self.comprehension(id, &comprehension),
            Some(Macro::Optional { flat, target, variable, body }) => {
                let inner = match self.kind(target) {
                    Type::Optional(inner) => *inner,
                    _ => Type::Dyn,
                };
                self.scope.push((variable.to_owned(), inner));
                let result = self.kind(body);
                self.scope.pop();
                return if flat { result } else { Type::optional(result) };
            }
            None => {}
        }
        if let (operators::OPT_SELECT, [operand, name]) = (call.func_name.as_str(), call.args.as_slice()) {
            return self.optional_select(id, operand, name);
        }
        self.plain_call(id, call)
    }

    fn optional_select(&mut self, id: u64, operand: &IdedExpr, name: &IdedExpr) -> Type<'n> {
        let operand = self.kind(operand);
        let Expr::Literal(LiteralValue::String(name)) = &name.expr else { return Type::Dyn };
        match self.field(id, &operand, name.inner()) {
            kind @ Type::Optional(_) => kind,
            kind => Type::optional(kind),
        }
    }

    fn plain_call(&mut self, id: u64, call: &CallExpr) -> Type<'n> {
        let namespace = calls::namespace(call, |root| self.variable(root).is_some());
        let is_member = call.target.is_some() && namespace.is_none();
        let mut arguments = Vec::new();
        if let (Some(target), true) = (&call.target, is_member) {
            arguments.push(self.kind(target));
        }
        for argument in &call.args {
            arguments.push(self.kind(argument));
        }
        let name = namespace.map_or_else(|| call.func_name.clone(), |n| format!("{n}.{}", call.func_name));
        let verdict = match signatures::operator(&name, &arguments) {
            Some(verdict) => verdict,
            None if is_member => signatures::member(&name, &arguments),
            None => signatures::global(&name, &arguments),
        };
        match verdict {
            Call::Returns(kind) => kind,
            Call::Unknown => self.wrong(id, format!("undeclared reference to '{name}' (in container '')")),
            Call::Mismatch => {
                let applied = applied(&arguments, is_member);
                self.wrong(id, format!("found no matching overload for '{name}' applied to '{applied}'"))
            }
        }
    }

    fn comprehension(&mut self, id: u64, comprehension: &Comprehension<'_>) -> Type<'n> {
        let range = self.kind(comprehension.range);
        let two = comprehension.variables.len() == 2;
        let (first, second) = match &range {
            Type::List(of) if two => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(keys, values) => ((**keys).clone(), (**values).clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return self.wrong(comprehension.range.id, message);
            }
        };
        let depth = self.scope.len();
        for (name, kind) in comprehension.variables.iter().zip([first.clone(), second]) {
            self.scope.push(((*name).to_owned(), kind));
        }
        if let Some(condition) = comprehension.condition {
            let kind = self.kind(condition);
            self.expect_bool(id, (operators::CONDITIONAL, kind));
        }
        let body = self.kind(comprehension.body);
        self.scope.truncate(depth);
        match comprehension.kind {
            Loop::All => self.expect_bool(id, (operators::LOGICAL_AND, body)),
            Loop::Exists => self.expect_bool(id, (operators::LOGICAL_OR, body)),
            Loop::ExistsOne => self.expect_bool(id, (operators::CONDITIONAL, body)),
            Loop::Filter => {
                self.expect_bool(id, (operators::CONDITIONAL, body));
                Type::list(first)
            }
            Loop::Map => Type::list(body),
            Loop::TransformMap => Type::map(first, body),
            Loop::TransformEntries => body,
        }
    }

    /// As the real checker says it of what a macro stands for.
    fn expect_bool(&mut self, id: u64, (operator, kind): (&str, Type<'n>)) -> Type<'n> {
        if !kind.fits(&Type::Bool) {
            let applied = match operator {
                operators::CONDITIONAL => format!("({kind}, int, int)"),
                _ => format!("(bool, {kind})"),
            };
            self.wrong(id, format!("found no matching overload for '{operator}' applied to '{applied}'"));
        }
        Type::Bool
    }
}

fn applied(arguments: &[Type<'_>], is_member: bool) -> String {
    let shown: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    match shown.split_first() {
        Some((target, rest)) if is_member => format!("{target}.({})", rest.join(", ")),
        _ => format!("({})", shown.join(", ")),
    }
}

fn constant<'n>(literal: &LiteralValue) -> Type<'n> {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::UInt(_) => Type::Uint,
    }
}
