//! delete and deletecollection: at once, or by marking where finalizers or a grace period hold it up.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::create::served;
use super::update::check_uid;
use super::{Api, Target, admit, cascade};
use crate::admission::Operation;
use crate::json::{child, integer, items, text};
use crate::meta;
use crate::resource::{Resource, Snapshot};
use crate::selector::Selector;
use crate::status::{self, Status};
use crate::store::{Range, Txn};
use crate::strategy::moment;

/// The longest grace that is taken literally, seconds: a year. More would leave the calendar.
const LONGEST_GRACE: i64 = 366 * 86_400;

/// What becomes of the objects that name the deleted one as their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without the reference.
    Orphan,
    /// They go after it.
    Background,
    /// It goes after them.
    Foreground,
}

impl Propagation {
    /// From its name in `DeleteOptions`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "Orphan" => Some(Self::Orphan),
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            _ => None,
        }
    }
}

/// What a deletion may ask for.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds the object is given to end; the kind's own if absent.
    pub grace_seconds: Option<i64>,
    /// Only if the object has this uid.
    pub uid: String,
    /// Only if the object has this resourceVersion.
    pub resource_version: String,
    /// What becomes of dependents; the kind's own way if absent.
    pub propagation: Option<Propagation>,
    /// Do everything except change anything.
    pub dry_run: bool,
}

/// What becomes of an object that is deleted.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// It goes now.
    Remove,
    /// It stays, changed like this, until finalizers and grace are over.
    Mark(Value),
    /// It was marked before; nothing changes.
    Keep,
}

/// What became of an object, and its last or present state.
pub(super) type Deleted = (Fate, Value);

impl Api {
    /// Deletes one object. Answers the object where it stays for a while or its kind answers so, otherwise a Status.
    pub async fn delete(&self, target: &Target, options: DeleteOptions) -> Result<Value, Status> {
        let kinds = self.registry.snapshot();
        let (resource, target) = (target.resource.clone(), target.clone());
        let watched = self.is_watched(&admit::place(&target, Operation::Delete, ""));
        let done = if watched {
            self.delete_admitted(&target, &options).await?
        } else {
            let decided = self.store.transact(move |txn| {
                if options.dry_run {
                    txn.discard();
                }
                delete(txn, &kinds, &target, &options)
            });
            decided.await?
        };
        match done {
            (Fate::Remove, last) if !resource.strategy.answers_with_object() => {
                let subject = resource.subject(text(&last, "metadata.name"));
                Ok(status::deleted(&subject, text(&last, "metadata.uid")))
            }
            (_, object) => served(&resource, object),
        }
    }

    /// Deletes all objects that `selector` matches. Answers them, as they were.
    pub async fn delete_collection(
        &self,
        target: &Target,
        selector: Selector,
        options: DeleteOptions,
    ) -> Result<Vec<Value>, Status> {
        if self.is_watched(&admit::place(target, Operation::Delete, "")) {
            return self.delete_each(target, &selector, &options).await;
        }
        let kinds = self.registry.snapshot();
        let target = target.clone();
        let done = self.store.transact(move |txn| {
            if options.dry_run {
                txn.discard();
            }
            let mut deleted = Vec::new();
            for (_, object) in txn.scan(&target.prefix())? {
                if selector.matches(&served(&target.resource, object.clone())?) {
                    let one = Target {
                        namespace: text(&object, "metadata.namespace").into(),
                        name: text(&object, "metadata.name").into(),
                        ..target.clone()
                    };
                    delete(txn, &kinds, &one, &options)?;
                    deleted.push(served(&target.resource, object)?);
                }
            }
            Ok::<_, Status>(deleted)
        });
        done.await
    }

    /// The same where webhooks have a say about each of them.
    async fn delete_each(
        &self,
        target: &Target,
        selector: &Selector,
        options: &DeleteOptions,
    ) -> Result<Vec<Value>, Status> {
        let mut deleted = Vec::new();
        for stored in self.store.list(Range::under(&target.prefix()))?.items {
            let object = target.resource.present(&stored.body)?;
            if !selector.matches(&object) {
                continue;
            }
            let one = Target {
                namespace: text(&object, "metadata.namespace").into(),
                name: text(&object, "metadata.name").into(),
                ..target.clone()
            };
            match self.delete_admitted(&one, options).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => deleted.push(object),
            }
        }
        Ok(deleted)
    }
}

pub(super) fn delete(
    txn: &mut Txn<'_, '_>,
    kinds: &Snapshot,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let resource = &target.resource;
    let object = txn.get(&target.key())?.ok_or_else(|| target.not_found())?;
    check_preconditions(target, options, &object)?;
    let now = Timestamp::now();
    if cascade::has_contents(resource) {
        return cascade::delete_container(txn, kinds, target, object, now);
    }
    let done = delete_one(txn, (resource, &target.key()), object, options.grace_seconds, now)?;
    if done.0 == Fate::Remove {
        cascade::sweep(txn, kinds, resource, &done.1)?;
    }
    Ok(done)
}

/// Refuses if the object may not be deleted, or not this one.
pub(super) fn check_preconditions(
    target: &Target,
    options: &DeleteOptions,
    object: &Value,
) -> Result<(), Status> {
    let resource = &target.resource;
    if resource.strategy.is_protected(&target.name) {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(resource.subject(&target.name), why));
    }
    check_uid(target, &options.uid, object)?;
    let version = &options.resource_version;
    if !version.is_empty() && version != text(object, "metadata.resourceVersion") {
        let actual = text(object, "metadata.resourceVersion");
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {actual}"
        );
        return Err(Status::conflict(resource.subject(&target.name), &why));
    }
    Ok(())
}

/// Removes or marks one object; its namespace and definition are not looked at.
pub(super) fn delete_one(
    txn: &mut Txn<'_, '_>,
    (resource, key): (&Resource, &str),
    object: Value,
    grace: Option<i64>,
    now: Timestamp,
) -> Result<(Fate, Value), Status> {
    let fate = fate(resource, &object, grace, now);
    let after = match &fate {
        Fate::Remove => txn.remove(key, object)?,
        Fate::Mark(marked) => txn.put(key, marked.clone())?,
        Fate::Keep => object,
    };
    Ok((fate, after))
}

fn fate(resource: &Resource, object: &Value, asked: Option<i64>, now: Timestamp) -> Fate {
    let grace = resource.strategy.grace_seconds(object, asked).min(LONGEST_GRACE);
    if grace == 0 && items(object, "metadata.finalizers").is_empty() {
        return Fate::Remove;
    }
    // A second deletion may only shorten the time that the first one gave.
    let given = integer(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
    if meta::is_ending(object) && grace >= given {
        return Fate::Keep;
    }
    Fate::Mark(marked(resource, object.clone(), grace, now))
}

/// `object` with its deletion begun.
pub(super) fn marked(resource: &Resource, mut object: Value, grace: i64, now: Timestamp) -> Value {
    let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let metadata = child(&mut object, "metadata");
    metadata["deletionTimestamp"] = moment(end);
    metadata["deletionGracePeriodSeconds"] = json!(grace);
    resource.strategy.begin_deletion(&mut object);
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn fate_of(metadata: Value, grace: Option<i64>) -> Fate {
        let kinds = Registry::default().snapshot();
        let pod =
            json!({"metadata": metadata, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
        fate(kinds.find("", "v1", "pods").unwrap(), &pod, grace, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_running_pod_is_marked_and_goes_when_no_grace_is_left() {
        let Fate::Mark(marked) = fate_of(json!({"name": "p"}), None) else { panic!("not marked") };
        assert_eq!(marked["metadata"]["deletionTimestamp"], "1970-01-01T00:00:30Z");
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(fate_of(json!({"name": "p"}), Some(0)), Fate::Remove);
    }

    #[test]
    fn grace_can_be_shortened_and_not_prolonged() {
        let marked = json!({"deletionTimestamp": "x", "deletionGracePeriodSeconds": 30});
        assert_eq!(fate_of(marked.clone(), Some(60)), Fate::Keep);
        assert!(matches!(fate_of(marked, Some(5)), Fate::Mark(_)));
    }

    #[test]
    fn finalizers_hold_an_object_without_grace() {
        let Fate::Mark(marked) = fate_of(json!({"finalizers": ["a/b"]}), Some(0)) else {
            panic!("not marked")
        };
        assert_eq!(fate_of(marked["metadata"].clone(), Some(0)), Fate::Keep);
    }

    #[test]
    fn an_absurd_grace_does_not_overflow() {
        assert!(matches!(fate_of(json!({}), Some(i64::MAX)), Fate::Mark(_)));
    }
}
