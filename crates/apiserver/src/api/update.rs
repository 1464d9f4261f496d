//! update and patch: the new object against the old one, decided alone with the store.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::addresses;
use super::admit;
use super::cascade;
use super::create::served;
use super::{Api, Target, WriteOptions};
use crate::admission::Operation;
use crate::crd::{self, Change};
use crate::decode;
use crate::json::{carry, child, text};
use crate::meta;
use crate::patch::{self, PatchError, PatchType};
use crate::resource::{Resource, Snapshot, StatusOnly};
use crate::status::{Cause, Status};
use crate::store::Txn;
use crate::warning;

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but status.
    Main,
    /// Status, written through the sub-resource.
    Status,
}

impl Part {
    /// The sub-resource that the write goes through; empty for the object itself.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
        }
    }
}

/// Makes the new object from the served form of the old one.
pub(super) type Edit = Arc<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync>;

/// Media types that custom kinds are patched with.
const CUSTOM_PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

impl Api {
    /// Replaces (a part of) the object by `object`.
    pub async fn update(
        &self,
        target: &Target,
        part: Part,
        object: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        self.edit(target, part, options, Arc::new(move |_| Ok(object.clone()))).await
    }

    /// Changes (a part of) the object by `patch`. Without a resourceVersion in it there is no conflict: it is applied to
    /// whatever is there.
    pub async fn patch(
        &self,
        target: &Target,
        part: Part,
        (patch_type, patch): (PatchType, Value),
        options: WriteOptions,
    ) -> Result<Value, Status> {
        if patch_type == PatchType::Apply {
            let message = "server-side apply is not supported by this server yet; use client-side apply";
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
        if target.resource.custom && patch_type == PatchType::Strategic {
            return Err(Status::unsupported_media_type(&CUSTOM_PATCHES));
        }
        let (resource, validation) = (target.resource.clone(), options.validation);
        let odd = Arc::new(Mutex::new(Vec::new()));
        let found = odd.clone();
        let edit = move |old: &Value| {
            let patched = patch::apply(patch_type, &resource.kind, old, &patch)?;
            let (object, warnings) = decode::value(&resource, &patched)?.accept(validation, &resource)?;
            *found.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
            Ok(object)
        };
        let patched = self.edit(target, part, options, Arc::new(edit)).await?;
        // The decision ran on the store's thread, which answers no request.
        odd.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(warning::add);
        Ok(patched)
    }

    pub(super) async fn edit(
        &self,
        target: &Target,
        part: Part,
        options: WriteOptions,
        edit: Edit,
    ) -> Result<Value, Status> {
        let kinds = self.registry.snapshot();
        let (resource, target) = (target.resource.clone(), target.clone());
        if self.is_watched(&admit::place(&target, Operation::Update, part.subresource())) {
            return served(&resource, self.edit_admitted((&target, part), &options, &edit).await?);
        }
        let stored = self.store.transact(move |txn| {
            if options.dry_run {
                txn.discard();
            }
            replace(txn, &kinds, &target, part, &edit)
        });
        served(&resource, stored.await?)
    }
}

impl From<PatchError> for Status {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(message) => Self::bad_request(message),
            PatchError::Unfit(message) => {
                Self::new(422, "Invalid", format!("the patch cannot be applied: {message}"))
            }
        }
    }
}

fn replace(
    txn: &mut Txn<'_, '_>,
    kinds: &Snapshot,
    target: &Target,
    part: Part,
    edit: &Edit,
) -> Result<Value, Status> {
    let old = txn.get(&target.key())?.ok_or_else(|| target.not_found())?;
    let mut new = edit(&served(&target.resource, old.clone())?)?;
    meta::check_shape(&target.resource, &mut new)?;
    let new = decide(target, part, target.resource.absorb(new), &old)?;
    write(txn, kinds, target, (old, new))
}

/// Writes `new` in place of `old`, if it differs; an object that only waited for this goes.
pub(super) fn write(
    txn: &mut Txn<'_, '_>,
    kinds: &Snapshot,
    target: &Target,
    (old, mut new): (Value, Value),
) -> Result<Value, Status> {
    let key = target.key();
    addresses::assign(txn, target, &mut new, Some(&old))?;
    if new == old {
        return Ok(old);
    }
    if meta::has_ended(&new) {
        let last = txn.remove(&key, new)?;
        cascade::sweep(txn, kinds, &target.resource, &last)?;
        crd::release_names(txn, &key)?;
        return Ok(last);
    }
    let stored = txn.put(&key, new)?;
    crd::accept_names(txn, &key)?;
    Ok(stored)
}

/// The object to store, from what the client wants and what is there; equal to `old` if nothing changes.
pub(super) fn decide(target: &Target, part: Part, mut new: Value, old: &Value) -> Result<Value, Status> {
    let resource = &target.resource;
    check_identity(target, &new, old)?;
    check_version(target, &new, old)?;
    meta::keep_server_owned(&mut new, old);
    match part {
        Part::Main if resource.status => carry("status", old, &mut new),
        Part::Main => {}
        Part::Status => resource.strategy.restrict_status_update(&mut new, old),
    }
    resource.strategy.prepare_update(&mut new, old);
    resource.fill_in(&mut new);
    carry("resourceVersion", &old["metadata"], child(&mut new, "metadata"));
    check_rules(target, part, &new, old)?;
    count_generation(resource, &mut new, old);
    Ok(new)
}

fn check_identity(target: &Target, new: &Value, old: &Value) -> Result<(), Status> {
    let name = text(new, "metadata.name");
    if name != target.name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
        return Err(Status::bad_request(message));
    }
    let namespace = text(new, "metadata.namespace");
    if !namespace.is_empty() && namespace != target.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    check_uid(target, text(new, "metadata.uid"), old)
}

/// Refuses if `uid` is given and is not that of `object`.
pub(super) fn check_uid(target: &Target, uid: &str, object: &Value) -> Result<(), Status> {
    let actual = text(object, "metadata.uid");
    if uid.is_empty() || uid == actual {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}");
    Err(Status::conflict(target.resource.subject(&target.name), &why))
}

fn check_version(target: &Target, new: &Value, old: &Value) -> Result<(), Status> {
    let resource = &target.resource;
    match text(new, "metadata.resourceVersion") {
        "" if resource.strategy.demands_resource_version() => {
            let detail = "must be specified for an update";
            let cause = Cause::invalid_value("metadata.resourceVersion", &json!(0), detail);
            Err(Status::invalid(resource.subject(&target.name), vec![cause]))
        }
        "" => Ok(()),
        version if version == text(old, "metadata.resourceVersion") => Ok(()),
        _ => Err(Status::modified(resource.subject(&target.name))),
    }
}

fn check_rules(target: &Target, part: Part, new: &Value, old: &Value) -> Result<(), Status> {
    let resource = &target.resource;
    let mut causes = meta::validate(resource, new);
    causes.extend(meta::validate_finalizers(new, old));
    causes.extend(resource.strategy.validate(new));
    causes.extend(resource.strategy.validate_update(new, old));
    let status_only = if part == Part::Status { StatusOnly::Yes } else { StatusOnly::No };
    if resource.custom {
        let old = resource.serve(old)?;
        causes.extend(resource.check(Change { new, old: Some(&old) }, status_only));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(resource.subject_kind(&target.name), causes))
}

/// The generation counts changes of what the user wants: all but metadata and status.
fn count_generation(resource: &Resource, new: &mut Value, old: &Value) {
    if !resource.generation {
        return;
    }
    let wanted = |object: &Value| {
        let mut rest = object.as_object().cloned().unwrap_or_default();
        rest.retain(|key, _| !["metadata", "status", "apiVersion"].contains(&key.as_str()));
        rest
    };
    if wanted(new) != wanted(old) {
        let before = old["metadata"]["generation"].as_i64().unwrap_or(0);
        child(new, "metadata")["generation"] = json!(before + 1);
    }
}
