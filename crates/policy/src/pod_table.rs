//! A pod's table, made of parts: one for each policy, which pods share, and the chains that lead to them.
//!
//! Tables are compared part by part, and parts that are one and the same by their place in memory: an edit of one policy among a thousand
//! costs what that policy is, in time and in memory, for every pod of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use polynic_net::{FwEdit, FwInventory, FwRules, FwRuleset, FwSet};

use crate::names::{hash_in, table};

/// A pod's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTable {
    /// The base chains, and those that lead to the policies' chains.
    entry: Arc<FwRuleset>,
    /// Chain and sets of each policy, by its hash.
    parts: BTreeMap<Arc<str>, Arc<FwRuleset>>,
}

impl PodTable {
    pub(crate) fn new(
        entry: Arc<FwRuleset>,
        parts: impl IntoIterator<Item = (Arc<str>, Arc<FwRuleset>)>,
    ) -> Self {
        Self { entry, parts: parts.into_iter().collect() }
    }

    /// The whole of it in one piece.
    pub fn whole(&self) -> FwRuleset {
        joined(std::iter::once(&self.entry).chain(self.parts.values()))
    }

    /// The edits that make the whole table where there is none.
    pub fn creation(&self) -> Vec<FwEdit> {
        self.whole().creation()
    }

    /// The edits that put this in place of a table of which only the names are known ([`FwRuleset::replacement`]).
    pub fn replacement(&self, there: &FwInventory) -> Vec<FwEdit> {
        self.whole().replacement(there)
    }

    /// The edits that lead from `old` to this; none if they are the same.
    pub fn edits_from(&self, old: &Self) -> Vec<FwEdit> {
        self.unlike(old).edits_from(&old.unlike(self))
    }

    /// The parts that `other` does not have.
    fn unlike(&self, other: &Self) -> FwRuleset {
        let entry = (self.entry != other.entry).then_some(&self.entry);
        let parts = self.parts.iter().filter(|(hash, part)| other.parts.get(*hash) != Some(part));
        joined(entry.into_iter().chain(parts.map(|(_, part)| part)))
    }

    /// Whether a table has the objects that this one has, by their names.
    pub fn has_the_names_of(&self, there: &FwInventory) -> bool {
        let count =
            |of: fn(&FwRuleset) -> usize| of(&self.entry) + self.parts.values().map(|p| of(p)).sum::<usize>();
        let chains = there.chains.iter();
        count(|ruleset| ruleset.sets.len()) == there.sets.len()
            && count(|ruleset| ruleset.chains.len()) == there.chains.len()
            && there.sets.iter().all(|name| self.set(name).is_some())
            && chains.clone().all(|(name, base)| self.chain(name).is_some_and(|chain| chain.base == *base))
    }

    /// A chain by its name.
    pub(crate) fn chain(&self, name: &str) -> Option<&FwRules> {
        self.entry.chains.get(name).or_else(|| self.part_of(name)?.chains.get(name))
    }

    /// A set by its name.
    pub(crate) fn set(&self, name: &str) -> Option<&FwSet> {
        self.entry.sets.get(name).or_else(|| self.part_of(name)?.sets.get(name))
    }

    fn part_of(&self, name: &str) -> Option<&FwRuleset> {
        self.parts.get(hash_in(name)?).map(Arc::as_ref)
    }
}

/// A table that no policies made.
impl From<FwRuleset> for PodTable {
    fn from(ruleset: FwRuleset) -> Self {
        Self { entry: Arc::new(ruleset), parts: BTreeMap::new() }
    }
}

/// Their names differ, so nothing is lost.
fn joined<'a>(parts: impl Iterator<Item = &'a Arc<FwRuleset>>) -> FwRuleset {
    let mut whole = FwRuleset { table: table(), sets: BTreeMap::new(), chains: BTreeMap::new() };
    for part in parts {
        whole.sets.extend(part.sets.iter().map(|(name, set)| (name.clone(), set.clone())));
        whole.chains.extend(part.chains.iter().map(|(name, chain)| (name.clone(), chain.clone())));
    }
    whole
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Attachment, Index, Options, Pod, PodKey, Policy};

    fn pod(address: &str) -> Pod {
        let lan = Attachment {
            network: "shop/lan".into(),
            interface: "net1".into(),
            addresses: vec![address.parse().unwrap()],
        };
        Pod { node: "n1".into(), selects_networks: true, attachments: vec![lan], ..Pod::default() }
    }

    fn policy(name: &str, port: u16) -> Policy {
        let metadata = json!({"name": name, "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan"}});
        let rules = json!([{"from": [{"podSelector": {}}], "ports": [{"port": port}]}]);
        Policy::parse(&json!({"metadata": metadata, "spec": {"podSelector": {}, "ingress": rules}}))
    }

    fn tables(index: &mut Index) -> [PodTable; 2] {
        ["a", "b"].map(|name| index.render(&PodKey::new("shop", name)).table.unwrap())
    }

    #[test]
    fn pods_share_what_they_have_in_common_and_an_edit_is_about_one_policy() {
        let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
        index.set_pod(PodKey::new("shop", "a"), pod("10.0.0.1"));
        index.set_pod(PodKey::new("shop", "b"), pod("10.0.0.2"));
        (0..20).for_each(|number| index.set_policy(policy(&format!("p{number}"), 80)));
        let [a, b] = tables(&mut index);
        let same = |x: &PodTable, y: &PodTable| {
            let parts = x.parts.iter().filter(|(hash, part)| Arc::ptr_eq(part, &y.parts[*hash]));
            (Arc::ptr_eq(&x.entry, &y.entry), parts.count())
        };
        assert_eq!(same(&a, &b), (true, 20));
        index.set_policy(policy("p7", 81));
        let [c, d] = tables(&mut index);
        assert_eq!((same(&c, &d), same(&a, &c)), ((true, 20), (true, 19)));
        // One chain is emptied, and its rule for the network's only family is written again.
        assert_eq!(c.edits_from(&a).len(), 2, "{:?}", c.edits_from(&a));
    }
}
