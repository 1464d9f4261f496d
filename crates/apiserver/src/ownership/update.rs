//! Ownership after a write that is no apply: whoever changes a field owns it, alone.

use serde_json::Value;

use super::compare::compare;
use super::conflict::{Conflict, conflicts};
use super::entries::{Identity, Managers, Operation, Owned, cap, decode};
use super::set::Set;
use super::{Write, entries_of, with_entries};

/// `new`, which is to replace `live` (null for a creation), with its entries. A list of entries in `new` replaces that in
/// `live`; an empty list, or one empty entry, starts anew. What cannot be tracked loses its entries, never the write.
pub(crate) fn update(live: &Value, new: Value, write: &Write<'_>) -> Value {
    let managers = starting_point(live, &new, write);
    let new = with_entries(new, None);
    let is_new = live["metadata"]["uid"].is_null();
    if managers.is_empty() && !is_new {
        return new;
    }
    match updated(live, &new, managers, write) {
        Ok(managers) => with_entries(new, Some(&managers)),
        Err(why) => {
            tracing::debug!(why, "the fields of an object cannot be tracked");
            new
        }
    }
}

/// Through a sub-resource, clients cannot change entries.
fn starting_point(live: &Value, new: &Value, write: &Write<'_>) -> Managers {
    let of_live = || decode(entries_of(live)).unwrap_or_default();
    if !write.subresource.is_empty() {
        return of_live();
    }
    let entries = entries_of(new);
    if is_reset(entries) {
        return Managers::new();
    }
    decode(entries).filter(|managers| !managers.is_empty()).unwrap_or_else(of_live)
}

fn is_reset(entries: &Value) -> bool {
    match entries.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}

/// The managers after `write` made `new` of `live`.
pub(super) fn updated(
    live: &Value,
    new: &Value,
    managers: Managers,
    write: &Write<'_>,
) -> Result<Managers, String> {
    let (mut managers, changed) = hand_over(live, new, managers, write)?;
    let identity = write.identity(Operation::Update);
    let mut mine = Managers::from([(
        identity.clone(),
        Owned {
            version: write.version.into(),
            time: Some(write.now.into()),
            fields: changed.without(write.reset),
        },
    )]);
    write.strip(&mut mine, &identity);
    if let Some(mut owned) = mine.remove(&identity).filter(|owned| !owned.fields.is_empty()) {
        if let Some(before) = managers.remove(&identity) {
            owned.fields = owned.fields.union(&before.fields);
        }
        managers.insert(identity, owned);
    }
    cap(&mut managers);
    Ok(managers)
}

/// Takes what changed and what is gone from all managers; answers what changed or came.
fn hand_over(
    live: &Value,
    new: &Value,
    mut managers: Managers,
    write: &Write<'_>,
) -> Result<(Managers, Set), String> {
    let difference = compare(live, new, write.shape)?.without(write.reset);
    let changed = difference.modified.union(&difference.added);
    release(&mut managers, &changed.clone().union(&difference.removed), None);
    Ok((managers, changed))
}

/// What others own of what became different when `identity` made `new` of `live`; without any, or if forced, they lose it.
pub(super) fn take_from_others(
    (live, new): (&Value, &Value),
    managers: &mut Managers,
    write: &Write<'_>,
    (identity, force): (&Identity, bool),
) -> Result<Vec<Conflict>, String> {
    let difference = compare(live, new, write.shape)?.without(write.reset);
    let changed = difference.modified.union(&difference.added);
    let others = managers.iter().filter(|(other, _)| *other != identity);
    let found: Vec<Conflict> =
        others.flat_map(|(other, owned)| conflicts(other, &owned.fields.intersection(&changed))).collect();
    if force || found.is_empty() {
        release(managers, &changed.union(&difference.removed), Some(identity));
        return Ok(Vec::new());
    }
    Ok(found)
}

fn release(managers: &mut Managers, fields: &Set, but: Option<&Identity>) {
    for (identity, owned) in managers.iter_mut() {
        if Some(identity) != but {
            owned.fields = owned.fields.difference(fields);
        }
    }
    managers.retain(|_, owned| !owned.fields.is_empty());
}
