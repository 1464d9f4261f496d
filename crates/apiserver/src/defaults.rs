//! What the real server fills in where clients say nothing, by type: a rule applies wherever its type occurs, so a pod template
//! of a deployment gets what a pod gets. Pure, and the same at every write. What is decided once, when an object is
//! created, stands in `strategy`.

mod pods;
mod rest;
mod services;
mod workloads;

use serde_json::Value;

use crate::schema::Node;

type Rule = fn(&mut Value);

/// Fills in `object`, a value of the built-in type called `name`, and everything in it.
pub(crate) fn fill(name: &str, node: &Node, object: &mut Value) {
    if let Some(rule) = rule(name) {
        rule(object);
    }
    below(node, object);
}

fn below(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if let crate::schema::Field::Known(property) = node.field(key) {
                    visit(property, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = node.items() {
                list.iter_mut().for_each(|value| visit(items, value));
            }
        }
        _ => {}
    }
}

fn visit(node: &Node, value: &mut Value) {
    match node.reference() {
        Some(definition) => fill(definition.go_path(), node, value),
        None => below(node, value),
    }
}

/// The rule of the type `package.version.Type`.
fn rule(name: &str) -> Option<Rule> {
    pods::rule(name)
        .or_else(|| workloads::rule(name))
        .or_else(|| services::rule(name))
        .or_else(|| rest::rule(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn every_rule_is_about_a_type_that_is_there() {
        let names: Vec<&str> = schema::definitions().map(schema::Definition::go_path).collect();
        for name in pods::NAMES.iter().chain(workloads::NAMES).chain(services::NAMES).chain(rest::NAMES) {
            assert!(names.contains(name) && rule(name).is_some(), "{name}");
        }
    }
}
