//! delete and deletecollection: at once, or by marking where finalizers or a grace period hold it up.

use jiff::Timestamp;
use serde_json::Value;

use super::create::served;
use super::deletion::{Fate, fate};
use super::{Api, Asker, Target, admit, cascade};
use crate::admission::Operation;
use crate::json::text;
use crate::resource::{Resource, Snapshot};
use crate::selector::Selector;
use crate::status::{self, Status};
use crate::store::{Range, Txn};

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
    /// What webhooks are told of it.
    pub(crate) asker: Asker,
    /// One of many that are deleted by one request, which names none of them.
    pub(crate) in_collection: bool,
}

/// Whether an object went, and its last or present state.
pub(super) type Deleted = (Gone, Value);

/// Whether an object went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    Yes,
    NotYet,
}

impl Api {
    /// Deletes one object. Answers the object where it stays for a while or its kind answers so, otherwise a Status.
    pub async fn delete(&self, target: &Target, options: DeleteOptions) -> Result<Value, Status> {
        if !self.is_watched(&admit::place(target, Operation::Delete, "")) {
            return self.delete_directly(target, options).await;
        }
        answer(&target.resource, self.delete_admitted(target, &options).await?)
    }

    /// The same without asking webhooks.
    pub(super) async fn delete_directly(
        &self,
        target: &Target,
        options: DeleteOptions,
    ) -> Result<Value, Status> {
        let (kinds, target) = (self.registry.snapshot(), target.clone());
        let resource = target.resource.clone();
        let decided = self.store.transact(move |txn| {
            if options.dry_run {
                txn.discard();
            }
            delete(txn, &kinds, &target, &options)
        });
        answer(&resource, decided.await?)
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
        let options = DeleteOptions { in_collection: true, ..options.clone() };
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
            match self.delete_admitted(&one, &options).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => deleted.push(object),
            }
        }
        Ok(deleted)
    }
}

/// What a deletion answers.
fn answer(resource: &Resource, done: Deleted) -> Result<Value, Status> {
    match done {
        (Gone::Yes, last) if !resource.strategy.answers_with_object() => {
            let subject = resource.subject(text(&last, "metadata.name"));
            Ok(status::deleted(&subject, text(&last, "metadata.uid")))
        }
        (_, object) => served(resource, object),
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
    let done = delete_one(txn, (resource, &target.key()), object, (options, now))?;
    if done.0 == Gone::Yes {
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
    let subject = || resource.subject_kind(&target.name);
    let (uid, version) = (text(object, "metadata.uid"), text(object, "metadata.resourceVersion"));
    if !options.uid.is_empty() && options.uid != uid {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({uid}). The object might have been deleted and then recreated",
            options.uid
        );
        return Err(Status::conflict(subject(), &why));
    }
    if !options.resource_version.is_empty() && options.resource_version != version {
        let why = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({version}). The object might have been modified",
            options.resource_version
        );
        return Err(Status::conflict(subject(), &why));
    }
    Ok(())
}

/// Removes or marks one object; its namespace and definition are not looked at.
pub(super) fn delete_one(
    txn: &mut Txn<'_, '_>,
    (resource, key): (&Resource, &str),
    object: Value,
    (options, now): (&DeleteOptions, Timestamp),
) -> Result<Deleted, Status> {
    Ok(match fate(resource, &object, options, now) {
        Fate::Remove => (Gone::Yes, txn.remove(key, object)?),
        Fate::MarkAndRemove(marked) => {
            let marked = txn.put(key, marked)?;
            (Gone::Yes, txn.remove(key, marked)?)
        }
        Fate::Mark(marked) => (Gone::NotYet, txn.put(key, marked)?),
        Fate::Keep => (Gone::NotYet, object),
    })
}
