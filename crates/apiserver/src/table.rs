//! Server-side printing: objects as rows of a `Table`, the form `kubectl get` asks for. Pure; the clock is an argument.

mod age;
mod cells;
mod jsonpath;
mod pods;
mod rest;
mod workloads;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::json::text;

pub use self::jsonpath::{JsonPath, JsonPathError};

pub(crate) use self::cells::{
    config_maps, crds, events, leases, named, namespaces, nodes, secrets, service_accounts, services,
    webhooks,
};
pub(crate) use self::pods::pods;
pub(crate) use self::rest::{
    claims, disruption_budgets, endpoints, ingresses, jobs, priority_classes, resource_claims, revisions,
    service_cidrs, volumes,
};
pub(crate) use self::workloads::{
    bindings, daemon_sets, deployments, endpoint_slices, network_policies, replica_sets, roles, stateful_sets,
};

/// How a cell is found.
#[derive(Debug, Clone)]
pub enum Cell {
    /// The value at a path.
    Path(JsonPath),
    /// The age of the moment at a path.
    Age(JsonPath),
    /// Whatever the function says of the object at that moment.
    Computed(fn(&Value, Timestamp) -> Value),
}

/// A column of a kind's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: Cow<'static, str>,
    /// OpenAPI type of the cells.
    pub kind: Cow<'static, str>,
    /// OpenAPI format of the cells; `name` marks the primary column.
    pub format: Cow<'static, str>,
    /// What the column says.
    pub description: Cow<'static, str>,
    /// 0 for always, above for `-o wide`.
    pub priority: i64,
    /// Where the cells come from.
    pub cell: Cell,
}

impl Column {
    /// A column that is always shown.
    pub(crate) fn computed(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed("string"),
            format: Cow::Borrowed(""),
            description: Cow::Borrowed(""),
            priority: 0,
            cell: Cell::Computed(cell),
        }
    }

    /// The same, for `-o wide` only.
    pub(crate) fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Self {
        Self { priority: 1, ..Self::computed(name, cell) }
    }

    /// A column of numbers.
    pub(crate) fn integer(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Self {
        Self { kind: Cow::Borrowed("integer"), ..Self::computed(name, cell) }
    }

    /// The column every kind starts with.
    pub(crate) fn name() -> Self {
        Self {
            format: Cow::Borrowed("name"),
            ..Self::computed("Name", |o, _| json!(text(o, "metadata.name")))
        }
    }

    /// The column nearly every kind ends with.
    pub(crate) fn age() -> Self {
        Self::computed("Age", |o, now| json!(age::since(text(o, "metadata.creationTimestamp"), now)))
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.cell {
            Cell::Computed(compute) => compute(object, now),
            Cell::Age(path) => {
                let moment = path.first(object).and_then(Value::as_str);
                moment.map_or(Value::Null, |moment| json!(age::since(moment, now)))
            }
            Cell::Path(path) => self.typed(&path.find(object)),
        }
    }

    /// The first value of a path counts; a value that is not of the column's type is left out, as in the real server.
    fn typed(&self, found: &[&Value]) -> Value {
        match (self.kind.as_ref(), found) {
            (_, []) => Value::Null,
            ("integer" | "number", [value, ..]) => {
                if value.is_number() {
                    (*value).clone()
                } else {
                    Value::Null
                }
            }
            ("boolean", [value, ..]) => {
                if value.is_boolean() {
                    (*value).clone()
                } else {
                    Value::Null
                }
            }
            (_, [value, ..]) => json!(plain(value)),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How much of each object a row carries besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Its metadata; the default.
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

/// The metadata of an object as an object of its own.
pub fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// The row of one object.
pub fn row(columns: &[Column], object: &Value, include: Include, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns.iter().map(|column| column.cell(object, now)).collect();
    let carried = match include {
        Include::Metadata => metadata_only(object),
        Include::Object => object.clone(),
        Include::None => return json!({"cells": cells}),
    };
    json!({"cells": cells, "object": carried})
}

/// A table; without `columns` the definitions are left out (the later tables of a watch).
pub fn table(columns: Option<&[Column]>, metadata: Value, rows: Vec<Value>) -> Value {
    let definitions: Vec<Value> = columns.unwrap_or_default().iter().map(Column::definition).collect();
    let definitions = if columns.is_some() { json!(definitions) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}
