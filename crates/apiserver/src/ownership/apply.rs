//! Server-side apply: what a manager applies is all that it wants to be responsible for. It is merged into what is there;
//! what the manager applied before and does not any more goes, unless somebody else wants it; what others own and would
//! become different is a conflict.

use serde_json::Value;

use super::collect::paths;
use super::conflict::Conflict;
use super::declared;
use super::entries::{Identity, Managers, Operation, Owned, decode};
use super::last_applied;
use super::merge::merge;
use super::remove::remove;
use super::set::Set;
use super::shape::Shape;
use super::update::{take_from_others, updated};
use super::{Write, entries_of, with_entries};

/// Who owns the fields of an object that nobody tracked before the first apply.
const BEFORE: &str = "before-first-apply";

/// Why nothing was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    /// Others own fields that would change.
    #[error("{}", super::sentence(.0))]
    Conflicts(Vec<Conflict>),
    /// The schema does not fit what is applied, or the entries are malformed.
    #[error("{0}")]
    Untyped(String),
}

impl From<String> for ApplyError {
    fn from(why: String) -> Self {
        Self::Untyped(why)
    }
}

/// `live` (an object without a uid for a creation) after `config` was applied to it, with its entries.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    force: bool,
    write: &Write<'_>,
) -> Result<Value, ApplyError> {
    let managers = decode(entries_of(live)).ok_or_else(|| "failed to decode managed fields".to_owned())?;
    let is_new = live["metadata"]["uid"].is_null();
    let managers = if managers.is_empty() && !is_new { before_first_apply(live, write)? } else { managers };
    let bare = with_entries(live.clone(), None);
    let outcome = merged(&bare, config, managers.clone(), (force, write));
    let (object, managers) = match outcome {
        Err(ApplyError::Conflicts(conflicts)) => {
            let left = last_applied::not_ours(&bare, conflicts, write);
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            merged(&bare, config, managers, (true, write))?
        }
        other => other?,
    };
    let object = last_applied::follow(object, config, write);
    Ok(with_entries(object, Some(&managers)))
}

fn before_first_apply(live: &Value, write: &Write<'_>) -> Result<Managers, String> {
    updated(
        write.zero,
        &with_entries(live.clone(), None),
        Managers::new(),
        &Write { manager: BEFORE, ..write.clone() },
    )
}

type Outcome = Result<(Value, Managers), ApplyError>;

fn merged(
    live: &Value,
    config: &Value,
    mut managers: Managers,
    (force, write): (bool, &Write<'_>),
) -> Outcome {
    let identity = write.identity(Operation::Apply);
    declared::check(config, write.shape)?;
    let object = merge(live, config, write.shape)?;
    let fields = paths(config, write.shape)?.without(write.reset);
    let before = managers.remove(&identity);
    let time = before.as_ref().and_then(|owned| owned.time.clone());
    let owned = Owned { version: write.version.into(), time, fields };
    managers.insert(identity.clone(), owned);
    let last = before.map(|owned| owned.fields).unwrap_or_default();
    let object = prune(object, &last, &managers, write.shape)?;
    let found = take_from_others((live, &object), &mut managers, write, (&identity, force))?;
    if !found.is_empty() {
        return Err(ApplyError::Conflicts(found));
    }
    write.strip(&mut managers, &identity);
    if object != *live {
        note_time(&mut managers, &identity, write.now);
    }
    Ok((object, managers))
}

/// An apply that changes nothing leaves the time as it is.
fn note_time(managers: &mut Managers, identity: &Identity, now: &str) {
    if let Some(owned) = managers.get_mut(identity) {
        owned.time = Some(now.into());
    }
}

/// Takes out of `object` what was applied `last` time and is not wanted any more: neither by this manager now, nor by
/// anybody else, nor because of something else in it that stays.
fn prune(object: Value, last: &Set, managers: &Managers, shape: Shape<'_>) -> Result<Value, String> {
    if last.is_empty() {
        return Ok(object);
    }
    let last = named(last, shape);
    let wanted = managers.values().fold(Set::default(), |all, owned| all.union(&owned.fields));
    let all = named(&paths(&object, shape)?, shape);
    let left = named(&paths(&remove(&object, &last, shape), shape)?, shape);
    let pruned = remove(&object, &all.difference(&left.union(&named(&wanted, shape))), shape);
    let left = named(&paths(&pruned, shape)?, shape);
    Ok(remove(&object, &all.difference(&left).intersection(&last), shape))
}

/// `set` with the fields that the schema names and that have something below them as members too.
fn named(set: &Set, shape: Shape<'_>) -> Set {
    let mut result = set.members_only();
    for (element, below) in set.children() {
        if let super::path::Element::Field(name) = element
            && shape.names(name)
        {
            result.add_member(element.clone());
        }
        result.set_below(element.clone(), named(below, shape.below(element)));
    }
    result
}
