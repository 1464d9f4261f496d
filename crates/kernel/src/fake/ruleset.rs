//! Tables that are edited as a whole, with the kernel's rules about what may be removed while something uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polynic_net::{FwBody, FwEdit, FwExpr, FwInventory, FwRules, FwRuleset, FwSet, FwTable, FwVerdict};

use super::world::Refusal;
use crate::Errno;

/// The tables of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Rulesets {
    tables: BTreeMap<FwTable, FwRuleset>,
}

impl Rulesets {
    /// A table with everything in it.
    pub(super) fn get(&self, table: &FwTable) -> Option<&FwRuleset> {
        self.tables.get(table)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FwRuleset> {
        self.tables.values()
    }

    pub(super) fn inventory(&self, table: &FwTable) -> Option<FwInventory> {
        let there = self.tables.get(table)?;
        let chains = there.chains.iter().map(|(name, chain)| (name.clone(), chain.base.clone())).collect();
        Some(FwInventory { chains, sets: there.sets.keys().cloned().collect() })
    }

    /// Carries out edits in order (the caller works on a copy).
    pub(super) fn edit(&mut self, table: &FwTable, edits: &[FwEdit]) -> Result<(), Refusal> {
        edits.iter().try_for_each(|edit| self.edit_one(table, edit))
    }

    /// Removes chains, and the rules that lead to them.
    pub(super) fn remove_chains(&mut self, table: &FwTable, names: &BTreeSet<String>) {
        let Some(ruleset) = self.tables.get_mut(table) else { return };
        ruleset.chains.retain(|name, _| !names.contains(name));
        let leads = |body: &FwBody| body.exprs.iter().filter_map(target).any(|to| names.contains(to));
        ruleset.chains.values_mut().for_each(|chain| chain.rules.retain(|body| !leads(body)));
    }

    fn edit_one(&mut self, table: &FwTable, edit: &FwEdit) -> Result<(), Refusal> {
        match edit {
            FwEdit::MakeTable => {
                let new = FwRuleset { table: table.clone(), sets: BTreeMap::new(), chains: BTreeMap::new() };
                return self.tables.insert(table.clone(), new).map_or(Ok(()), |_| Err(Errno::EEXIST.into()));
            }
            FwEdit::RemoveTable => {
                return self.tables.remove(table).map(drop).ok_or_else(|| Errno::ENOENT.into());
            }
            _ => {}
        }
        let ruleset = self.tables.get_mut(table).ok_or(Errno::ENOENT)?;
        match edit {
            FwEdit::MakeTable | FwEdit::RemoveTable => Ok(()),
            FwEdit::MakeChain { chain, base } => {
                let new = FwRules { base: base.clone(), rules: Vec::new() };
                let old = ruleset.chains.insert(chain.clone(), new);
                old.map_or(Ok(()), |_| Err(Errno::EEXIST.into()))
            }
            FwEdit::EmptyChain(chain) => {
                ruleset.chains.get_mut(chain).ok_or(Errno::ENOENT)?.rules.clear();
                Ok(())
            }
            FwEdit::RemoveChain(chain) => remove_chain(ruleset, chain),
            FwEdit::MakeSet { set, content } => {
                let old = ruleset.sets.insert(set.clone(), content.clone());
                old.map_or(Ok(()), |_| Err(Errno::EEXIST.into()))
            }
            FwEdit::RemoveSet(set) => remove_set(ruleset, set),
            FwEdit::AddElements { set, elements } => {
                add(ruleset.sets.get_mut(set).ok_or(Errno::ENOENT)?, elements)
            }
            FwEdit::RemoveElements { set, elements } => {
                remove(ruleset.sets.get_mut(set).ok_or(Errno::ENOENT)?, elements)
            }
            FwEdit::AddRule { chain, body } => add_rule(ruleset, chain, body),
        }
    }
}

fn remove_chain(ruleset: &mut FwRuleset, name: &str) -> Result<(), Refusal> {
    let chain = ruleset.chains.get(name).ok_or(Errno::ENOENT)?;
    let used = exprs(ruleset).any(|e| target(e) == Some(name));
    if used || !chain.rules.is_empty() {
        return Err(Errno::EBUSY.into());
    }
    ruleset.chains.remove(name);
    Ok(())
}

fn remove_set(ruleset: &mut FwRuleset, name: &str) -> Result<(), Refusal> {
    if exprs(ruleset).any(|e| set_of(e) == Some(name)) {
        return Err(Errno::EBUSY.into());
    }
    ruleset.sets.remove(name).map(drop).ok_or_else(|| Errno::ENOENT.into())
}

fn add_rule(ruleset: &mut FwRuleset, chain: &str, body: &FwBody) -> Result<(), Refusal> {
    for expr in &body.exprs {
        match target(expr).map(|target| ruleset.chains.get(target)) {
            Some(None) => return Err(Errno::ENOENT.into()),
            Some(Some(entered)) if entered.base.is_some() => return Err(Errno::EOPNOTSUPP.into()),
            _ => {}
        }
        if set_of(expr).is_some_and(|set| !ruleset.sets.contains_key(set)) {
            return Err(Errno::ENOENT.into());
        }
    }
    ruleset.chains.get_mut(chain).ok_or(Errno::ENOENT)?.rules.push(body.clone());
    Ok(())
}

fn add(set: &mut FwSet, new: &FwSet) -> Result<(), Refusal> {
    match (set, new) {
        (FwSet::Links(names), FwSet::Links(new)) => names.extend(new.iter().cloned()),
        (FwSet::Addresses(family, all), FwSet::Addresses(of, new)) if family == of => {
            Arc::make_mut(all).extend(new.iter());
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(())
}

/// Elements that are not there are an error, as in the kernel.
fn remove(set: &mut FwSet, gone: &FwSet) -> Result<(), Refusal> {
    let all = match (set, gone) {
        (FwSet::Links(names), FwSet::Links(gone)) => gone.iter().all(|name| names.remove(name)),
        (FwSet::Addresses(_, all), FwSet::Addresses(_, gone)) => {
            let all = Arc::make_mut(all);
            gone.iter().all(|ip| all.remove(ip))
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if all { Ok(()) } else { Err(Errno::ENOENT.into()) }
}

fn exprs(ruleset: &FwRuleset) -> impl Iterator<Item = &FwExpr> {
    ruleset.chains.values().flat_map(|chain| &chain.rules).flat_map(|body| &body.exprs)
}

fn target(expr: &FwExpr) -> Option<&str> {
    match expr {
        FwExpr::Verdict(FwVerdict::Jump(chain) | FwVerdict::Goto(chain)) => Some(chain),
        _ => None,
    }
}

fn set_of(expr: &FwExpr) -> Option<&str> {
    match expr {
        FwExpr::IifIn(set) | FwExpr::OifIn(set) | FwExpr::SrcIn { set, .. } | FwExpr::DstIn { set, .. } => {
            Some(set)
        }
        _ => None,
    }
}
