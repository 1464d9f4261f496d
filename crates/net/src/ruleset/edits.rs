//! Comparing tables.
//!
//! The order of a batch: rules go first, because chains and sets stay while rules use them; then what is not needed any more, what is
//! new, and the rules of what was emptied or made.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{FwEdit, FwInventory, FwRules, FwRuleset, FwSet};
use crate::{FwExpr, FwVerdict};

impl FwRuleset {
    /// The edits that make the whole table where there is none.
    pub fn creation(&self) -> Vec<FwEdit> {
        let mut edits = vec![FwEdit::MakeTable];
        edits.extend(self.fill(&FwInventory::default()));
        edits
    }

    /// The edits that put this content in place of a table of which only the names are known, in one batch: nothing of what was there
    /// stays, but base chains whose entry is the wanted one stay where they are.
    pub fn replacement(&self, there: &FwInventory) -> Vec<FwEdit> {
        let mut edits: Vec<FwEdit> = there.chains.keys().cloned().map(FwEdit::EmptyChain).collect();
        let stays = |name: &String, base| self.keeps_base(name, base);
        let gone = there.chains.iter().filter(|(name, base)| !stays(name, base));
        edits.extend(gone.map(|(name, _)| FwEdit::RemoveChain(name.clone())));
        edits.extend(there.sets.iter().cloned().map(FwEdit::RemoveSet));
        edits.extend(self.fill(there));
        edits
    }

    /// The edits that lead from `old` to this; none if they are the same. Both must be about the same table.
    pub fn edits_from(&self, old: &Self) -> Vec<FwEdit> {
        let remade = self.remade_sets(old);
        let touched = self.touched_chains(old, &remade);
        let mut edits: Vec<FwEdit> = touched.iter().map(|name| FwEdit::EmptyChain((*name).clone())).collect();
        edits.extend(self.removed_chains(old).map(|name| FwEdit::RemoveChain(name.clone())));
        let dropped = old.sets.keys().filter(|name| !self.sets.contains_key(*name) || remade.contains(name));
        edits.extend(dropped.map(|name| FwEdit::RemoveSet(name.clone())));
        for (name, set) in &self.sets {
            match old.sets.get(name).filter(|_| !remade.contains(name)) {
                Some(before) => edits.extend(element_edits(name, before, set)),
                None => edits.push(FwEdit::MakeSet { set: name.clone(), content: set.clone() }),
            }
        }
        let is_new = |name: &String, chain: &FwRules| {
            old.chains.get(name).is_none_or(|before| before.base != chain.base)
        };
        let made = self.chains.iter().filter(|(name, chain)| is_new(name, chain));
        edits.extend(made.map(|(name, chain)| make_chain(name, chain)));
        let refilled =
            self.chains.iter().filter(|(name, chain)| touched.contains(name) || is_new(name, chain));
        edits.extend(refilled.flat_map(|(name, chain)| rules(name, chain)));
        edits
    }

    fn keeps_base(&self, name: &String, base: &Option<crate::FwBase>) -> bool {
        base.is_some() && self.chains.get(name).is_some_and(|chain| chain.base == *base)
    }

    /// Sets, chains, rules, but for the base chains that stay.
    fn fill(&self, there: &FwInventory) -> Vec<FwEdit> {
        let sets = self.sets.iter();
        let mut edits: Vec<FwEdit> =
            sets.map(|(name, set)| FwEdit::MakeSet { set: name.clone(), content: set.clone() }).collect();
        let stays = |name: &String| there.chains.get(name).is_some_and(|base| self.keeps_base(name, base));
        let missing = self.chains.iter().filter(|(name, _)| !stays(name));
        edits.extend(missing.map(|(name, chain)| make_chain(name, chain)));
        edits.extend(self.chains.iter().flat_map(|(name, chain)| rules(name, chain)));
        edits
    }

    /// Sets that are made anew: those of another kind now, and intervals with another content. Elements of an interval set cannot be
    /// exchanged safely for overlapping ones while it is in use, and they change with policies only.
    fn remade_sets<'a>(&'a self, old: &'a Self) -> BTreeSet<&'a String> {
        let both = self.sets.iter().filter_map(|(name, set)| Some((name, old.sets.get(name)?, set)));
        let remade = both.filter(|(_, before, set)| {
            !before.is_like(set) || (matches!(set, FwSet::Intervals(_)) && before != set)
        });
        remade.map(|(name, ..)| name).collect()
    }

    /// Chains of `old` whose rules go: those with other rules now, without rules to come, or with rules that use a set made anew.
    fn touched_chains<'a>(&'a self, old: &'a Self, remade: &BTreeSet<&String>) -> BTreeSet<&'a String> {
        let uses = |chain: &FwRules| sets_of(chain).any(|set| remade.contains(set));
        let touched = old
            .chains
            .iter()
            .filter(|(name, chain)| self.chains.get(*name).is_none_or(|new| new != *chain) || uses(chain));
        touched.map(|(name, _)| name).collect()
    }

    /// Chains that go, or come again with another entry.
    fn removed_chains<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a String> {
        let gone = old
            .chains
            .iter()
            .filter(|(name, chain)| self.chains.get(*name).is_none_or(|new| new.base != chain.base));
        gone.map(|(name, _)| name)
    }

    /// What leads nowhere: rules that jump to a chain that is not there or use a set that is not. For tests.
    pub fn dangling(&self) -> Vec<String> {
        let all = self.chains.values();
        let sets = all.clone().flat_map(sets_of).filter(|set| !self.sets.contains_key(*set)).cloned();
        let chains =
            all.flat_map(|chain| &chain.rules).flat_map(|body| &body.exprs).filter_map(|e| match e {
                FwExpr::Verdict(FwVerdict::Jump(to) | FwVerdict::Goto(to)) => Some(to),
                _ => None,
            });
        sets.chain(chains.filter(|chain| !self.chains.contains_key(*chain)).cloned()).collect()
    }
}

fn make_chain(name: &str, chain: &FwRules) -> FwEdit {
    FwEdit::MakeChain { chain: name.to_owned(), base: chain.base.clone() }
}

fn rules(name: &str, chain: &FwRules) -> impl Iterator<Item = FwEdit> {
    chain.rules.iter().map(move |body| FwEdit::AddRule { chain: name.to_owned(), body: body.clone() })
}

fn sets_of(chain: &FwRules) -> impl Iterator<Item = &String> {
    chain.rules.iter().flat_map(|body| &body.exprs).filter_map(|expr| match expr {
        FwExpr::IifIn(set) | FwExpr::OifIn(set) | FwExpr::SrcIn { set, .. } | FwExpr::DstIn { set, .. } => {
            Some(set)
        }
        _ => None,
    })
}

/// Elements to remove, then elements to add.
fn element_edits(name: &str, before: &FwSet, after: &FwSet) -> Vec<FwEdit> {
    let (gone, new) = match (before, after) {
        (FwSet::Links(a), FwSet::Links(b)) => (FwSet::Links(a - b), FwSet::Links(b - a)),
        (FwSet::Addresses(family, a), FwSet::Addresses(_, b)) if !Arc::ptr_eq(a, b) => {
            let but = |x: &BTreeSet<_>, y: &BTreeSet<_>| FwSet::Addresses(*family, Arc::new(x - y));
            (but(a, b), but(b, a))
        }
        _ => return Vec::new(),
    };
    let set = name.to_owned();
    let removal = (!gone.is_empty()).then(|| FwEdit::RemoveElements { set: set.clone(), elements: gone });
    let addition = (!new.is_empty()).then_some(FwEdit::AddElements { set, elements: new });
    removal.into_iter().chain(addition).collect()
}

#[cfg(test)]
mod tests;
