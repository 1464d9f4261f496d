//! Chained plugins that route: they let the node, the cluster's networks and a pod's further interfaces reach each other both ways
//! (spec/coordinator.md).
//!
//! Each has a configuration, and a plan that follows the order of its section of the specification, because priorities of rules depend on it.
//! They share the reading of facts (`view`), the plan in the making (`draft`) and the parts of which both are made.

mod args;
mod cable;
mod cidr;
mod coordinator;
mod draft;
mod ip_conflict;
mod keys;
mod mac_prefix;
mod mac_rewrite;
mod moves;
mod own_answers;
mod router;
mod settings;
#[cfg(test)]
mod tests;
mod veth;
mod view;

use polynic_cni::{Error, Success};
use polynic_net::Plan;

use crate::{Call, ChainedPlugin, Planned};

/// Every built-in chained plugin of this family.
pub const ALL: [&dyn ChainedPlugin; 3] = [&coordinator::Coordinator, &router::Router, &veth::Veth];

/// The priority of the rule by which the node finds its ways to pods' underlay addresses, and of that for marked replies in a pod.
const HOST_RULE_PRIORITY: u32 = 1000;

/// No change: what came before is the answer.
fn nothing(prev: &Success) -> Planned {
    Planned { plan: Plan::default(), result: prev.clone() }
}

/// The number of a routing table, if one is given. 253 to 255 belong to the kernel.
fn table_number(call: &Call<'_>, key: &str, given: Option<i64>) -> Result<Option<u32>, Error> {
    let Some(given) = given else { return Ok(None) };
    let number = u32::try_from(given).ok().filter(|n| *n > 0 && !(253..=255).contains(n));
    number.map(Some).ok_or_else(|| {
        call.error(format!(
            "invalid {key} {given}: it must be the number of a table, not 0 and not 253 to 255"
        ))
    })
}
