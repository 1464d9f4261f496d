//! What a container may request and be limited to.

use serde_json::Value;

use super::super::fields;
use crate::json::at;
use crate::quantity::Quantity;
use crate::status::Cause;

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn causes(resources: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for list in ["limits", "requests"] {
        for (name, amount) in amounts(resources, list) {
            causes.extend(amount_causes(name, amount, &format!("{field}.{list}[{name}]")));
        }
        if list == "requests" {
            causes.extend(
                amounts(resources, list).filter_map(|(name, amount)| beyond(resources, name, amount, field)),
            );
        }
    }
    causes
}

fn amounts<'r>(resources: &'r Value, list: &str) -> impl Iterator<Item = (&'r str, &'r str)> {
    let map = at(resources, list).and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, amount)| (name.as_str(), amount.as_str().unwrap_or_default()))
}

fn amount_causes(name: &str, amount: &str, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(complaint) = fields::qualified(name) {
        causes.push(Cause::invalid(field, name, &complaint));
    }
    let known = STANDARD.contains(&name) || name.starts_with("hugepages-");
    if !known && !name.contains('/') {
        causes.push(Cause::invalid(field, name, "must be a standard resource type or fully qualified"));
        causes.push(Cause::invalid(field, name, "must be a standard resource for containers"));
    }
    let Some(quantity) = Quantity::parse(amount) else { return causes };
    if quantity.is_negative() {
        causes.push(Cause::invalid(field, amount, "must be greater than or equal to 0"));
    }
    if is_extended(name) && !quantity.is_whole() {
        causes.push(Cause::invalid(field, amount, "must be an integer"));
    }
    causes
}

/// Devices and the like: whole, and never promised twice.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with("kubernetes.io/")
}

/// A request beyond its limit, or, of what cannot be promised twice, one without a limit.
fn beyond(resources: &Value, name: &str, amount: &str, field: &str) -> Option<Cause> {
    let request = Quantity::parse(amount)?;
    let limit = at(resources, "limits").and_then(|limits| limits.get(name)).and_then(Value::as_str);
    let Some(limit) = limit else {
        let detail = "Limit must be set for non overcommitable resources";
        let fixed = is_extended(name) || name.starts_with("hugepages-");
        return fixed.then(|| Cause::required(format!("{field}.limits"), detail));
    };
    let most = Quantity::parse(limit)?;
    let requests = format!("{field}.requests");
    if is_extended(name) && request.nanos() != most.nanos() {
        let detail = format!("must be equal to {name} limit of {limit}");
        return Some(Cause::invalid(requests, amount, &detail));
    }
    let detail = format!("must be less than or equal to {name} limit of {limit}");
    (request.nanos() > most.nanos()).then(|| Cause::invalid(requests, amount, &detail))
}
