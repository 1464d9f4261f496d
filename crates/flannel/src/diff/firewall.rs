//! Tables of our own: a chain whose rules differ in any way is emptied and filled again, all in one batch.

use polynic_net::{Change, Diff, FwChain, FwObject, FwRule, FwTable, Object};

use super::HOST;

/// `tables` are those that are the instance's own.
pub(super) fn compare(wanted: &[FwObject], seen: &[FwObject], tables: &[FwTable]) -> Vec<Change> {
    let seen: Vec<&FwObject> = seen.iter().filter(|object| tables.contains(object.table())).collect();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for object in wanted {
        if let FwObject::Table(_) = object
            && !seen.contains(&object)
        {
            added.push(object.clone());
        }
    }
    for chain in chains(wanted.iter()) {
        let here = chains(seen.iter().copied()).find(|c| c.table == chain.table && c.name == chain.name);
        let want = rules(wanted.iter(), chain);
        let have = rules(seen.iter().copied(), chain);
        if here == Some(chain) && same(&want, &have) {
            continue;
        }
        removed.extend(have.into_iter().cloned().map(FwObject::Rule));
        if here != Some(chain) {
            removed.extend(here.cloned().map(FwObject::Chain));
            added.push(FwObject::Chain(chain.clone()));
        }
        added.extend(want.into_iter().cloned().map(FwObject::Rule));
    }
    removed.extend(unwanted(wanted, &seen));
    let change = |diff| Change { place: HOST, object: Object::Firewall(diff) };
    let removed = removed.into_iter().map(|object| change(Diff::delete(object)));
    removed.chain(added.into_iter().map(|object| change(Diff::create(object)))).collect()
}

/// Rules are read back without content: their comments say it.
fn same(want: &[&FwRule], have: &[&FwRule]) -> bool {
    want.iter().map(|rule| &rule.comment).eq(have.iter().map(|rule| &rule.comment))
}

fn chains<'o>(objects: impl Iterator<Item = &'o FwObject>) -> impl Iterator<Item = &'o FwChain> {
    objects.filter_map(|object| match object {
        FwObject::Chain(chain) => Some(chain),
        _ => None,
    })
}

fn rules<'o>(objects: impl Iterator<Item = &'o FwObject>, chain: &FwChain) -> Vec<&'o FwRule> {
    let rules = objects.filter_map(|object| match object {
        FwObject::Rule(rule) => Some(rule),
        _ => None,
    });
    rules.filter(|rule| rule.table == chain.table && rule.chain == chain.name).collect()
}

/// Chains that are wanted no more with their rules, and tables: rules first, tables last.
fn unwanted(wanted: &[FwObject], seen: &[&FwObject]) -> Vec<FwObject> {
    let keeps =
        |chain: &str, table: &FwTable| chains(wanted.iter()).any(|c| c.name == chain && c.table == *table);
    let is_unwanted = |object: &FwObject| match object {
        FwObject::Rule(rule) => !keeps(&rule.chain, &rule.table),
        FwObject::Chain(chain) => !keeps(&chain.name, &chain.table),
        FwObject::Table(_) => !wanted.contains(object),
    };
    let rank = |object: &FwObject| match object {
        FwObject::Rule(_) => 0,
        FwObject::Chain(_) => 1,
        FwObject::Table(_) => 2,
    };
    let mut gone: Vec<FwObject> =
        seen.iter().filter(|object| is_unwanted(object)).map(|o| (*o).clone()).collect();
    gone.sort_by_key(rank);
    gone
}
