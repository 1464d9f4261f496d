//! update and patch: the new object against the old one, decided alone with the store.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::addresses;
use super::admit;
use super::cascade;
use super::create::served;
use super::own::{self, Owner};
use super::{Api, Target, WriteOptions};
use crate::admission::Operation;
use crate::crd::{self, Change};
use crate::decode;
use crate::json::{carry, child, text};
use crate::meta;
use crate::ownership;
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
    /// What another sub-resource of this name is about, by the kind's own rule.
    Below(&'static str),
}

impl Part {
    /// The sub-resource that the write goes through; empty for the object itself.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Below(name) => name,
        }
    }
}

/// Makes the new object, with its owners, from the served form of the old one.
pub(super) type Edit = Arc<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync>;

/// Times that an apply is begun anew because the object came or went meanwhile.
const APPLY_TRIES: usize = 8;

impl Api {
    /// Replaces (a part of) the object by `object`; true if it was not there and was made.
    pub async fn update(
        &self,
        target: &Target,
        part: Part,
        object: Value,
        options: WriteOptions,
    ) -> Result<(Value, bool), Status> {
        let (owner, new) = (Owner::new(target, part, &options), object.clone());
        let named = target.clone();
        let edit = move |old: &Value| {
            check_uid(&named, text(&new, "metadata.uid"), old)?;
            owner.updated(old, new.clone())
        };
        match self.edit(target, part, options.clone(), Arc::new(edit)).await {
            Err(status)
                if status == target.not_found() && own::may_be_created_by_update(&target.resource) =>
            {
                check_name(target, &object)?;
                self.create(target, object, options).await.map(|object| (object, true))
            }
            done => done.map(|object| (object, false)),
        }
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
        if target.resource.custom && patch_type == PatchType::Strategic {
            return Err(Status::unsupported_media_type(&patch::CUSTOM_MEDIA_TYPES));
        }
        let owner = Owner::new(target, part, &options);
        let (resource, validation) = (target.resource.clone(), options.validation);
        let odd = Arc::new(Mutex::new(Vec::new()));
        let found = odd.clone();
        let edit = move |old: &Value| {
            let patched = patch::apply(patch_type, resource.model(), old, &patch)?;
            let decoded =
                decode::value(&resource, &patched).and_then(|object| object.accept(validation, &resource));
            let (object, warnings) = decoded.map_err(unfit)?;
            *found.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
            // Nor is it one if it says that it is another.
            owner.updated(old, object).map_err(unfit)
        };
        let patched = self.edit(target, part, options, Arc::new(edit)).await?;
        // The decision ran on the store's thread, which answers no request.
        odd.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(warning::add);
        Ok(patched)
    }

    /// Applies `config` as the options' manager; true if it made the object. Conflicts with other managers are an error
    /// unless `force`.
    pub async fn apply(
        &self,
        target: &Target,
        part: Part,
        (config, force): (Value, bool),
        options: WriteOptions,
    ) -> Result<(Value, bool), Status> {
        let config = Arc::new(config);
        for _ in 0..APPLY_TRIES {
            let (owner, applied) = (Owner::new(target, part, &options), config.clone());
            let edit = move |old: &Value| owner.applied(old, &applied, force);
            match self.edit(target, part, options.clone(), Arc::new(edit)).await {
                Err(status) if part == Part::Main && status == target.not_found() => {}
                done => return done.map(|object| (object, false)),
            }
            match self.create_applied(target, &config, options.clone()).await {
                Err(status) if status.reason == "AlreadyExists" => {}
                done => return done.map(|object| (object, true)),
            }
        }
        Err(Status::modified(target.resource.subject(&target.name)))
    }

    async fn create_applied(
        &self,
        target: &Target,
        config: &Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let owner = Owner::new(target, Part::Main, &options);
        let mut object = owner.applied(&own::nothing(&target.resource), config, false)?;
        let uid = text(config, "metadata.uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(target.resource.subject(&target.name), &why));
        }
        check_name(target, &object)?;
        super::create::check_place(target, &mut object)?;
        self.create_owned(target, object, options).await
    }

    pub(super) async fn edit(
        &self,
        target: &Target,
        part: Part,
        options: WriteOptions,
        edit: Edit,
    ) -> Result<Value, Status> {
        if self.is_watched(&admit::place(target, Operation::Update, part.subresource())) {
            return served(&target.resource, self.edit_admitted((target, part), &options, &edit).await?);
        }
        self.edit_directly((target, part), options, edit).await
    }

    /// The same without asking webhooks.
    pub(super) async fn edit_directly(
        &self,
        (target, part): (&Target, Part),
        options: WriteOptions,
        edit: Edit,
    ) -> Result<Value, Status> {
        let kinds = self.registry.snapshot();
        let (resource, target) = (target.resource.clone(), target.clone());
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
                tracing::debug!(message, "a patch does not fit");
                let message = "the server rejected our request due to an error in our request";
                let status = Self::new(422, "Invalid", message);
                let mut body = status.to_json();
                body["details"] = json!({});
                Self { verbatim: Some(Box::new(body)), ..status }
            }
            PatchError::TooLong(message) => Self::new(413, "RequestEntityTooLarge", message),
            PatchError::Broken(message) => Self::new(500, "", message),
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
    if new == old || ownership::only_times_differ(&new, &old) {
        return Ok(old);
    }
    if meta::has_ended(&new) {
        let last = txn.remove(&key, new.clone())?;
        cascade::sweep(txn, kinds, &target.resource, &last)?;
        crd::release_names(txn, &key)?;
        // The answer is what the writer made of it; only watches tell of the revision in which it went.
        return Ok(new);
    }
    if txn.is_discarded() {
        return Ok(new);
    }
    let stored = txn.put(&key, new)?;
    crd::accept_names(txn, &key)?;
    Ok(stored)
}

/// A patch whose outcome is no object of the kind is the patch's fault.
fn unfit(status: Status) -> Status {
    if status.code != 400 {
        return status;
    }
    let why = status.message;
    Status::new(422, "Invalid", format!(" \"\" is invalid: patch: Invalid value: {why}"))
}

/// The object to store, from what the client wants and what is there; equal to `old` if nothing changes.
pub(super) fn decide(target: &Target, part: Part, mut new: Value, old: &Value) -> Result<Value, Status> {
    let resource = &target.resource;
    check_identity(target, &new, old)?;
    check_version(target, &new, old)?;
    meta::keep_server_owned(&mut new, old);
    let entries = json!({"managedFields": new["metadata"]["managedFields"]});
    match part {
        Part::Main if resource.status => carry("status", old, &mut new),
        Part::Main => {}
        Part::Status => resource.strategy.restrict_status_update(&mut new, old),
        Part::Below(name) => resource.strategy.restrict_update_below(name, &mut new, old),
    }
    carry_entries(&entries, &mut new);
    resource.strategy.prepare_update(&mut new, old);
    resource.fill_in(&mut new);
    carry("resourceVersion", &old["metadata"], child(&mut new, "metadata"));
    check_rules(target, part, &new, old)?;
    count_generation(resource, &mut new, old);
    Ok(new)
}

/// The owners stay what this write made them, whatever else it puts back.
fn carry_entries(entries: &Value, new: &mut Value) {
    let metadata = child(new, "metadata");
    if entries["managedFields"].is_null() {
        carry("managedFields", &Value::Null, metadata);
    } else {
        carry("managedFields", entries, metadata);
    }
}

fn check_name(target: &Target, new: &Value) -> Result<(), Status> {
    let name = text(new, "metadata.name");
    if name.is_empty() {
        let message = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            target.name
        );
        return Err(Status::bad_request(message));
    }
    if name != target.name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
        return Err(Status::bad_request(message));
    }
    Ok(())
}

fn check_identity(target: &Target, new: &Value, old: &Value) -> Result<(), Status> {
    check_name(target, new)?;
    let namespace = text(new, "metadata.namespace");
    if !namespace.is_empty() && namespace != target.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    let uid = text(new, "metadata.uid");
    if uid.is_empty() || uid == text(old, "metadata.uid") {
        return Ok(());
    }
    let cause = Cause::invalid("metadata.uid", uid, "field is immutable");
    // The real server finds this twice, and lists it twice.
    Err(Status::invalid(target.resource.subject_kind(&target.name), vec![cause.clone(), cause]))
}

/// Refuses if `uid` is given and is not that of `object`.
pub(super) fn check_uid(target: &Target, uid: &str, object: &Value) -> Result<(), Status> {
    let actual = text(object, "metadata.uid");
    if uid.is_empty() || uid == actual {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}",
        etcd_key(target)
    );
    Err(Status::conflict(target.resource.subject(&target.name), &why))
}

/// Where the real server would keep the object, which its messages name. A few old kinds have keys of their own.
fn etcd_key(target: &Target) -> String {
    let resource = &target.resource;
    let own_place = ["apiextensions.k8s.io", "apiregistration.k8s.io"].contains(&resource.group.as_str());
    let kind = match resource.plural.as_str() {
        plural if resource.custom || own_place => format!("{}/{plural}", resource.group),
        "nodes" => "minions".into(),
        "replicationcontrollers" => "controllers".into(),
        "services" => "services/specs".into(),
        "endpoints" => "services/endpoints".into(),
        "ingresses" => "ingress".into(),
        plural => plural.to_owned(),
    };
    let place = [kind.as_str(), &target.namespace, &target.name].into_iter().filter(|part| !part.is_empty());
    format!("/registry/{}", place.collect::<Vec<_>>().join("/"))
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
    if !matches!(part, Part::Below(_)) {
        causes.extend(resource.strategy.validate_update(new, old));
    }
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
