//! Tables, chains and rules of nf_tables, changed in atomic batches.

use std::collections::BTreeMap;

use polynic_net::{Diff, FwBase, FwChain, FwExpr, FwKind, FwObject, FwPosition, FwRule, FwTable, FwVerdict};

use super::world::Refusal;
use crate::Errno;

/// Longest comment that `nft` writes, in bytes.
const MAX_COMMENT: usize = 128;
/// `NFT_NAME_MAXLEN`, with the terminating zero.
const MAX_NAME: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    base: Option<FwBase>,
    rules: Vec<FwRule>,
}

/// The firewall of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Firewall {
    tables: BTreeMap<FwTable, BTreeMap<String, Chain>>,
}

impl Firewall {
    /// Applies changes in order, all or none (the caller works on a copy).
    ///
    /// Rules that share chain and comment stand for each other. So one batch may create several of them, and deleting
    /// one deletes them all: the batch's further deletions of the same are satisfied.
    pub(super) fn batch(&mut self, changes: &[&Diff<FwObject>]) -> Result<(), Refusal> {
        let mut created: Vec<&FwObject> = Vec::new();
        let mut deleted: Vec<&FwObject> = Vec::new();
        for change in changes {
            if let Some(old) = &change.before {
                if !deleted.iter().any(|o| is_rule(o) && o.same_identity(old)) {
                    self.delete(old)?;
                }
                deleted.push(old);
            }
            if let Some(new) = &change.after {
                let ours = is_rule(new) && created.iter().any(|o| o.same_identity(new));
                if self.contains(new) && !ours {
                    return Err(Errno::EEXIST.into());
                }
                self.create(new)?;
                created.push(new);
            }
        }
        Ok(())
    }

    /// Everything in `table`; rules in their order.
    pub(super) fn objects(&self, table: &FwTable) -> Vec<FwObject> {
        let Some(chains) = self.tables.get(table) else { return Vec::new() };
        let mut objects = vec![FwObject::Table(table.clone())];
        for (name, chain) in chains {
            objects.push(FwObject::Chain(FwChain {
                table: table.clone(),
                name: name.clone(),
                base: chain.base.clone(),
            }));
            objects.extend(chain.rules.iter().cloned().map(FwObject::Rule));
        }
        objects
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &FwTable> {
        self.tables.keys()
    }

    fn contains(&self, object: &FwObject) -> bool {
        self.objects(object.table()).iter().any(|o| o.same_identity(object))
    }

    fn create(&mut self, object: &FwObject) -> Result<(), Refusal> {
        match object {
            FwObject::Table(table) => {
                check_name(&table.name)?;
                self.tables.insert(table.clone(), BTreeMap::new());
            }
            FwObject::Chain(chain) => {
                check_name(&chain.name)?;
                let new = Chain { base: chain.base.clone(), rules: Vec::new() };
                self.chains(&chain.table)?.insert(chain.name.clone(), new);
            }
            FwObject::Rule(rule) => return self.create_rule(rule),
        }
        Ok(())
    }

    fn create_rule(&mut self, rule: &FwRule) -> Result<(), Refusal> {
        if rule.comment.len() > MAX_COMMENT {
            return Err(Errno::EINVAL.into());
        }
        let chains = self.chains(&rule.table)?;
        match targets(rule).find_map(|t| chains.get(t).map_or(Some(None), |c| c.base.as_ref().map(Some))) {
            // A jump leads to a chain that exists and is not entered by a hook itself.
            Some(None) => return Err(Errno::ENOENT.into()),
            Some(Some(_)) => return Err(Errno::EOPNOTSUPP.into()),
            None => {}
        }
        let chain = chains.get_mut(&rule.chain).ok_or(Errno::ENOENT)?;
        let rewrites = rule
            .exprs
            .iter()
            .any(|e| matches!(e, FwExpr::Masquerade | FwExpr::MasqueradeRandom | FwExpr::Dnat(_)));
        if rewrites && chain.base.as_ref().is_some_and(|b| b.kind != FwKind::Nat) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let rules = &mut chain.rules;
        match rule.position {
            FwPosition::First => rules.insert(0, rule.clone()),
            FwPosition::Last => rules.push(rule.clone()),
        }
        Ok(())
    }

    fn delete(&mut self, object: &FwObject) -> Result<(), Refusal> {
        match object {
            // With NLM_F_NONREC, so that nobody's chains go with a table.
            FwObject::Table(table) if !self.chains(table)?.is_empty() => return Err(Errno::EBUSY.into()),
            FwObject::Table(table) => drop(self.tables.remove(table)),
            FwObject::Chain(chain) => return self.delete_chain(chain),
            FwObject::Rule(rule) => return self.delete_rule(rule),
        }
        Ok(())
    }

    /// A chain goes with its rules, but not while rules of other chains lead to it (`nf_tables_delchain`).
    fn delete_chain(&mut self, chain: &FwChain) -> Result<(), Refusal> {
        let chains = self.chains(&chain.table)?;
        if !chains.contains_key(&chain.name) {
            return Err(Errno::ENOENT.into());
        }
        let others = chains.iter().filter(|(name, _)| **name != chain.name);
        let used = others.flat_map(|(_, c)| &c.rules).any(|r| targets(r).any(|t| t == chain.name));
        if used {
            return Err(Errno::EBUSY.into());
        }
        chains.remove(&chain.name);
        Ok(())
    }

    fn delete_rule(&mut self, rule: &FwRule) -> Result<(), Refusal> {
        let chain = self.chains(&rule.table)?.get_mut(&rule.chain).ok_or(Errno::ENOENT)?;
        let count = chain.rules.len();
        chain.rules.retain(|r| r.comment != rule.comment);
        if chain.rules.len() == count { Err(Errno::ENOENT.into()) } else { Ok(()) }
    }

    fn chains(&mut self, table: &FwTable) -> Result<&mut BTreeMap<String, Chain>, Refusal> {
        self.tables.get_mut(table).ok_or_else(|| Errno::ENOENT.into())
    }
}

fn is_rule(object: &FwObject) -> bool {
    matches!(object, FwObject::Rule(_))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() >= MAX_NAME { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// The chains that a rule leads to.
fn targets(rule: &FwRule) -> impl Iterator<Item = &str> {
    rule.exprs.iter().filter_map(|e| match e {
        FwExpr::Verdict(FwVerdict::Jump(chain) | FwVerdict::Goto(chain)) => Some(chain.as_str()),
        _ => None,
    })
}
