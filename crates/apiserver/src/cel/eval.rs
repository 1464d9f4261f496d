//! Evaluation, within a budget: every step costs, so no expression takes longer than its budget allows.

use std::collections::BTreeMap;
use std::rc::Rc;

use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr, operators,
};

use super::macros::{self, Comprehension, Loop, Macro};
use super::value::{Key, Value};
use super::{Program, calls, operators as operate};

/// What one evaluation may cost.
const CALL_LIMIT: u64 = 1_000_000;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct EvalError {
    pub(crate) message: String,
    /// True if the budget was used up: nothing else is to be evaluated.
    pub(crate) exhausted: bool,
}

impl EvalError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exhausted: false }
    }
}

pub(super) fn no_overload() -> EvalError {
    EvalError::new("no such overload")
}

/// What evaluations of one object may cost together.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    /// For all expressions of a definition and one object, as in the real server.
    pub(crate) fn for_object() -> Self {
        Self(10_000_000)
    }

    /// For the conditions of one webhook.
    pub(crate) fn for_conditions() -> Self {
        Self(2_500_000)
    }

    /// True if nothing is left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0 == 0
    }
}

impl Program {
    /// The value of the expression where its variables have these values.
    pub(crate) fn evaluate(
        &self,
        variables: &[(&str, Value)],
        budget: &mut Budget,
    ) -> Result<Value, EvalError> {
        let scope = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut evaluator = Evaluator { scope, cost: 0, limit: CALL_LIMIT };
        let result = evaluator.eval(&self.expression);
        let within = budget.0.checked_sub(evaluator.cost);
        budget.0 = within.unwrap_or(0);
        if within.is_none() {
            return Err(EvalError { message: "out of budget".into(), exhausted: true });
        }
        result
    }
}

pub(super) struct Evaluator {
    scope: Vec<(String, Value)>,
    cost: u64,
    limit: u64,
}

type Outcome = Result<Value, EvalError>;

impl Evaluator {
    /// Counts what a step costs.
    pub(super) fn charge(&mut self, cost: usize) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost as u64);
        if self.cost > self.limit {
            let message = "operation cancelled: actual cost limit exceeded".into();
            return Err(EvalError { message, exhausted: true });
        }
        Ok(())
    }

    pub(super) fn lookup(&self, name: &str) -> Option<Value> {
        self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub(super) fn eval(&mut self, expression: &IdedExpr) -> Outcome {
        match &expression.expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => Err(no_overload()),
        }
    }

    fn identifier(&mut self, name: &str) -> Outcome {
        self.charge(1)?;
        let name = name.strip_prefix('.').unwrap_or(name);
        let found = self.lookup(name).or_else(|| calls::type_named(name));
        found.ok_or_else(|| EvalError::new(format!("no such attribute(s): {name}")))
    }

    fn select(&mut self, select: &SelectExpr) -> Outcome {
        if let Some(name) = calls::qualified(select, |root| self.lookup(root).is_some()) {
            return Ok(name);
        }
        let operand = self.eval(&select.operand)?;
        self.charge(1)?;
        field(&operand, &select.field)
    }

    fn list(&mut self, list: &ListExpr) -> Outcome {
        let mut items = Vec::with_capacity(list.elements.len());
        for (n, element) in list.elements.iter().enumerate() {
            let value = self.eval(element)?;
            match (list.optional_indices.contains(&n), value) {
                (false, value) => items.push(value),
                (true, Value::Optional(value)) => items.extend(value.map(|value| (*value).clone())),
                (true, _) => return Err(no_overload()),
            }
        }
        self.charge(10)?;
        Ok(Value::list(items))
    }

    fn map(&mut self, map: &MapExpr) -> Outcome {
        let mut fields = BTreeMap::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { return Err(no_overload()) };
            let key = self.eval(&entry.key)?.as_key();
            let key = key.ok_or_else(|| EvalError::new("unsupported key type"))?;
            match (entry.optional, self.eval(&entry.value)?) {
                (false, value) => drop(fields.insert(key, value)),
                (true, Value::Optional(Some(value))) => drop(fields.insert(key, (*value).clone())),
                (true, Value::Optional(None)) => {}
                (true, _) => return Err(no_overload()),
            }
        }
        self.charge(30)?;
        Ok(Value::Map(Rc::new(fields)))
    }

    fn call(&mut self, call: &CallExpr) -> Outcome {
        match macros::of(call) {
            Some(Macro::Has(select)) => return self.has(select),
            Some(Macro::Comprehension(comprehension)) => return self.comprehension(&comprehension),
            Some(Macro::Optional { flat, target, variable, body }) => {
                return self.optional((flat, variable), target, body);
            }
            None => {}
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => self.logical((a, b), false),
            (operators::LOGICAL_OR, [a, b]) => self.logical((a, b), true),
            (operators::CONDITIONAL, [condition, yes, no]) => match self.eval(condition)? {
                Value::Bool(true) => self.eval(yes),
                Value::Bool(false) => self.eval(no),
                _ => Err(no_overload()),
            },
            (operators::OPT_SELECT, [operand, name]) => {
                let (operand, name) = (self.eval(operand)?, self.eval(name)?);
                optional_field(&operand, name.as_text().unwrap_or_default())
            }
            _ => self.plain_call(call),
        }
    }

    fn plain_call(&mut self, call: &CallExpr) -> Outcome {
        let namespace = calls::namespace(call, |root| self.lookup(root).is_some());
        let mut arguments = Vec::with_capacity(call.args.len() + 1);
        if let (Some(target), None) = (&call.target, &namespace) {
            arguments.push(self.eval(target)?);
        }
        for argument in &call.args {
            arguments.push(self.eval(argument)?);
        }
        let size: usize = arguments.iter().map(Value::size).sum();
        self.charge(1 + size / 10)?;
        if let Some(result) = operate::apply(&call.func_name, &arguments) {
            return result;
        }
        let is_member = call.target.is_some() && namespace.is_none();
        let name = namespace.map_or_else(|| call.func_name.clone(), |n| format!("{n}.{}", call.func_name));
        let result =
            if is_member { calls::member(&name, &arguments)? } else { calls::global(&name, &arguments)? };
        self.charge(result.size() / 10)?;
        Ok(result)
    }

    /// `&&` and `||`: an error on one side does not count where the other decides.
    fn logical(&mut self, (a, b): (&IdedExpr, &IdedExpr), decisive: bool) -> Outcome {
        self.charge(1)?;
        let first = self.truth(a);
        if matches!(&first, Ok(value) if *value == decisive) || matches!(&first, Err(e) if e.exhausted) {
            return first.map(Value::Bool);
        }
        match (first, self.truth(b)) {
            (_, Ok(value)) if value == decisive => Ok(Value::Bool(decisive)),
            (_, Err(error)) if error.exhausted => Err(error),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(value)) => Ok(Value::Bool(value)),
        }
    }

    fn truth(&mut self, expression: &IdedExpr) -> Result<bool, EvalError> {
        match self.eval(expression)? {
            Value::Bool(value) => Ok(value),
            _ => Err(no_overload()),
        }
    }

    fn has(&mut self, select: &SelectExpr) -> Outcome {
        let operand = self.eval(&select.operand)?;
        self.charge(1)?;
        match operand {
            Value::Map(fields) => {
                Ok(Value::Bool(fields.contains_key(&Key::Text(select.field.as_str().into()))))
            }
            Value::Optional(inner) => {
                let there = inner.as_deref().is_some_and(|value| field(value, &select.field).is_ok());
                Ok(Value::Bool(there))
            }
            _ => Err(no_overload()),
        }
    }

    fn optional(&mut self, (flat, variable): (bool, &str), target: &IdedExpr, body: &IdedExpr) -> Outcome {
        let Value::Optional(inner) = self.eval(target)? else { return Err(no_overload()) };
        let Some(inner) = inner else { return Ok(Value::Optional(None)) };
        self.scope.push((variable.to_owned(), (*inner).clone()));
        let result = self.eval(body);
        self.scope.pop();
        if flat { result } else { result.map(Value::some) }
    }

    /// The elements of a range, as the values of one or two variables.
    fn elements(&mut self, comprehension: &Comprehension<'_>) -> Result<Vec<Vec<Value>>, EvalError> {
        let two = comprehension.variables.len() == 2;
        let place = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        match self.eval(comprehension.range)? {
            Value::List(items, _) => Ok(items
                .iter()
                .enumerate()
                .map(|(n, item)| if two { vec![place(n), item.clone()] } else { vec![item.clone()] })
                .collect()),
            Value::Map(fields) => Ok(fields
                .iter()
                .map(|(key, value)| if two { vec![key.value(), value.clone()] } else { vec![key.value()] })
                .collect()),
            _ => Err(no_overload()),
        }
    }

    fn comprehension(&mut self, comprehension: &Comprehension<'_>) -> Outcome {
        let elements = self.elements(comprehension)?;
        let depth = self.scope.len();
        let mut made = Made::default();
        let mut result = Ok(());
        for element in elements {
            self.scope.truncate(depth);
            for (name, value) in comprehension.variables.iter().zip(&element) {
                self.scope.push(((*name).to_owned(), value.clone()));
            }
            result = self.step(comprehension, &element, &mut made);
            if result.is_err() || made.decided(comprehension.kind) {
                break;
            }
        }
        self.scope.truncate(depth);
        result?;
        made.finish(comprehension.kind)
    }

    fn step(
        &mut self,
        comprehension: &Comprehension<'_>,
        element: &[Value],
        made: &mut Made,
    ) -> Result<(), EvalError> {
        self.charge(2)?;
        if let Some(condition) = comprehension.condition
            && !self.truth(condition)?
        {
            return Ok(());
        }
        match comprehension.kind {
            Loop::All | Loop::Exists => match self.truth(comprehension.body) {
                Ok(holds) => made.seen(holds),
                Err(error) if error.exhausted => return Err(error),
                Err(error) => made.error = Some(error),
            },
            Loop::ExistsOne => made.count += usize::from(self.truth(comprehension.body)?),
            Loop::Filter => {
                if self.truth(comprehension.body)? {
                    made.items.push(element[0].clone());
                }
            }
            Loop::Map => made.items.push(self.eval(comprehension.body)?),
            Loop::TransformMap => {
                let key = element[0].as_key().ok_or_else(no_overload)?;
                let value = self.eval(comprehension.body)?;
                made.fields.insert(key, value);
            }
            Loop::TransformEntries => {
                let Value::Map(entries) = self.eval(comprehension.body)? else { return Err(no_overload()) };
                for (key, value) in entries.iter() {
                    if made.fields.insert(key.clone(), value.clone()).is_some() {
                        return Err(EvalError::new(format!(
                            "insert failed: key {} already exists",
                            key.shown()
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a comprehension has made so far.
#[derive(Default)]
struct Made {
    items: Vec<Value>,
    fields: BTreeMap<Key, Value>,
    count: usize,
    some_true: bool,
    some_false: bool,
    error: Option<EvalError>,
}

impl Made {
    fn seen(&mut self, holds: bool) {
        self.some_true |= holds;
        self.some_false |= !holds;
    }

    fn decided(&self, kind: Loop) -> bool {
        (kind == Loop::All && self.some_false) || (kind == Loop::Exists && self.some_true)
    }

    fn finish(self, kind: Loop) -> Outcome {
        match kind {
            Loop::All if self.some_false => Ok(Value::Bool(false)),
            Loop::Exists if self.some_true => Ok(Value::Bool(true)),
            Loop::All | Loop::Exists => match self.error {
                Some(error) => Err(error),
                None => Ok(Value::Bool(kind == Loop::All)),
            },
            Loop::ExistsOne => Ok(Value::Bool(self.count == 1)),
            Loop::Filter | Loop::Map => Ok(Value::list(self.items)),
            Loop::TransformMap | Loop::TransformEntries => Ok(Value::Map(Rc::new(self.fields))),
        }
    }
}

pub(super) fn field(operand: &Value, name: &str) -> Outcome {
    match operand {
        Value::Map(fields) => {
            let found = fields.get(&Key::Text(name.into())).cloned();
            found.ok_or_else(|| EvalError::new(format!("no such key: {name}")))
        }
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => optional_field(inner, name),
        _ => Err(no_overload()),
    }
}

fn optional_field(operand: &Value, name: &str) -> Outcome {
    let inner = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner,
        other => other,
    };
    let Value::Map(fields) = inner else { return Err(no_overload()) };
    Ok(Value::Optional(fields.get(&Key::Text(name.into())).cloned().map(Rc::new)))
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Value::Bytes(value.inner().into()),
        LiteralValue::Double(value) => Value::Double(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::text(value.inner()),
        LiteralValue::UInt(value) => Value::Uint(*value.inner()),
    }
}
