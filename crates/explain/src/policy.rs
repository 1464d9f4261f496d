//! Drops by MultiNetworkPolicies, in the words of policies instead of rules.

use polynic_net::stack::Stack;
use polynic_net::{FwFamily, FwTable};

use crate::firewall::Place;

/// The table that MultiNetworkPolicies have in a pod, and the base chain that leads to each of its chains that drop.
const TABLE: &str = "multi_networkpolicy";
const ENTRIES: [(&str, &str); 2] = [("ingress", "input"), ("egress", "output")];

/// The policies because of which a place in the firewall drops what none of them allows; none if it is not theirs. Rules carry the names
/// of the policies that they come from.
pub(crate) fn isolating(stack: &Stack, place: &Place) -> Option<String> {
    let is_theirs = place.table == format!("inet {TABLE}");
    let (_, entry) = ENTRIES.into_iter().find(|(chain, _)| is_theirs && place.chain == *chain)?;
    let chain = stack.ruleset.chain(&FwTable::new(FwFamily::Inet, TABLE), entry)?;
    let mut names: Vec<&str> = chain.rules.iter().map(|rule| rule.comment.as_str()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}
