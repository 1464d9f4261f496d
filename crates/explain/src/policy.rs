//! Drops by MultiNetworkPolicies, in the words of policies instead of rules.

use polynic_net::stack::Stack;
use polynic_net::{FwFamily, FwTable};

use crate::firewall::Place;

/// The table that MultiNetworkPolicies have in a pod, and its chains that drop.
const TABLE: &str = "multi_networkpolicy";
const DROPPING: [&str; 2] = ["ingress", "egress"];

/// The policies because of which a place in the firewall drops what none of them allows; none if it is not theirs. Rules that ask a policy
/// carry its name, `namespace/name`.
pub(crate) fn isolating(stack: &Stack, place: &Place) -> Option<String> {
    let is_theirs = place.table == format!("inet {TABLE}") && DROPPING.contains(&place.chain.as_str());
    let table = FwTable::new(FwFamily::Inet, TABLE);
    let chain = stack.ruleset.chain(&table, &place.chain).filter(|_| is_theirs)?;
    let mut names: Vec<&str> = chain.rules.iter().map(|rule| rule.comment.as_str()).collect();
    names.retain(|name| name.contains('/'));
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use polynic_net::stack::{Ruleset, SeenChain, SeenRule};

    use super::*;

    #[test]
    fn policies_are_named_where_their_chain_drops_and_nowhere_else() {
        let comments = [
            "known connections",
            "always allowed",
            "shop/web-in",
            "shop/deny",
            "shop/web-in",
            "not allowed by any policy",
        ];
        let rule = |(at, comment): (usize, &&str)| SeenRule {
            handle: at as u64,
            comment: (*comment).to_owned(),
            ops: Vec::new(),
        };
        let chain = |table: &str, name: &str| SeenChain {
            table: FwTable::new(FwFamily::Inet, table),
            name: name.to_owned(),
            base: None,
            drops: false,
            rules: comments.iter().enumerate().map(rule).collect(),
        };
        let chains = vec![chain(TABLE, "ingress"), chain(TABLE, "cnp-x"), chain("other", "ingress")];
        let stack = Stack { ruleset: Ruleset { chains, sets: Vec::new() }, ..Stack::default() };
        let named = |table: &str, chain: &str| {
            let (table, chain) = (format!("inet {table}"), chain.to_owned());
            isolating(&stack, &Place { table, chain, handle: Some(5), comment: String::new() })
        };
        assert_eq!(named(TABLE, "ingress").as_deref(), Some("shop/deny, shop/web-in"));
        assert_eq!(
            (named(TABLE, "cnp-x"), named("other", "ingress"), named(TABLE, "egress")),
            (None, None, None)
        );
    }
}
