//! create: defaults, checks, identity, and a name if the client wants one made.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::own::{self, Owner};
use super::update::Part;
use super::{Api, Target, WriteOptions, addresses, admit_container};
use crate::crd::{self, Change};
use crate::entropy;
use crate::json::{child, text};
use crate::meta;
use crate::resource::{Resource, StatusOnly};
use crate::status::Status;
use crate::store::Txn;

/// Generated names that are tried before giving up.
const NAME_TRIES: usize = 8;

impl Api {
    /// Creates `object`; `target.name` is taken from it if it is empty. Answers the object in the served version.
    pub async fn create(
        &self,
        target: &Target,
        mut object: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        meta::check_shape(&target.resource, &mut object)?;
        check_place(target, &mut object)?;
        if !text(&object, "metadata.resourceVersion").is_empty() {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let object =
            Owner::new(target, Part::Main, &options).updated(&own::nothing(&target.resource), object)?;
        self.create_owned(target, object, options).await
    }

    /// What would be created, for a kind that is answered and not stored.
    pub(crate) fn unstored(
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        check_place(target, &mut object)?;
        Owner::new(target, Part::Main, options).updated(&own::nothing(&target.resource), object)
    }

    /// The same for an object that knows its owners.
    pub(super) async fn create_owned(
        &self,
        target: &Target,
        object: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let object = self.admit_new(target, object, &options).await?;
        let generated = text(&object, "metadata.generateName").to_owned();
        let tries =
            if text(&object, "metadata.name").is_empty() && !generated.is_empty() { NAME_TRIES } else { 1 };
        for attempt in 1..=tries {
            let mut candidate = object.clone();
            if tries > 1 {
                candidate["metadata"]["name"] = json!(generated_name(&generated)?);
            }
            match self.create_named(target, candidate, options.clone()).await {
                Err(status) if status.reason == "AlreadyExists" && attempt < tries => {}
                result => return result,
            }
        }
        Err(Status::internal("no generated name was free"))
    }

    async fn create_named(
        &self,
        target: &Target,
        object: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let name = text(&object, "metadata.name").to_owned();
        let target = Target { name, ..target.clone() };
        let object = prepare(&target, object, Timestamp::now())?;
        self.validate_new(&target, &object, &options).await?;
        let resource = target.resource.clone();
        let stored = self.store.transact(move |txn| insert(txn, &target, object, options)).await?;
        served(&resource, stored)
    }
}

pub(super) fn insert(
    txn: &mut Txn<'_, '_>,
    target: &Target,
    mut object: Value,
    options: WriteOptions,
) -> Result<Value, Status> {
    admit_container(&|key| Ok(txn.get(key)?), target)?;
    let key = target.key();
    if txn.has(&key)? {
        return Err(already_exists(txn, target)?);
    }
    if options.dry_run {
        txn.discard();
    }
    addresses::assign(txn, target, &mut object, None)?;
    if options.dry_run {
        // What is not stored has no revision.
        return Ok(object);
    }
    let stored = txn.put(&key, object)?;
    crd::accept_names(txn, &key)?;
    Ok(stored)
}

fn already_exists(txn: &Txn<'_, '_>, target: &Target) -> Result<Status, Status> {
    let mut status = Status::already_exists(target.resource.subject(&target.name));
    if txn.get(&target.key())?.is_some_and(|object| meta::is_ending(&object)) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    Ok(status)
}

/// A stored value as clients of `resource`'s version see it.
pub(super) fn served(resource: &Resource, stored: Value) -> Result<Value, Status> {
    resource.serve_owned(stored)
}

fn generated_name(prefix: &str) -> Result<String, Status> {
    // The real server cuts the prefix so that the name fits in a label.
    let cut = prefix.char_indices().nth(58).map_or(prefix.len(), |(at, _)| at);
    Ok(format!("{}{}", &prefix[..cut], entropy::name_suffix().map_err(Status::internal)?))
}

/// The namespace of path and object must agree; cluster-wide objects have none.
pub(super) fn check_place(target: &Target, object: &mut Value) -> Result<(), Status> {
    let said = text(object, "metadata.namespace").to_owned();
    if !said.is_empty() && said != target.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    if target.resource.namespaced {
        child(object, "metadata")["namespace"] = json!(target.namespace);
    }
    Ok(())
}

/// The object as it will be stored, apart from its resourceVersion.
pub(super) fn prepare(target: &Target, object: Value, now: Timestamp) -> Result<Value, Status> {
    let resource = &target.resource;
    let mut object = resource.absorb(object);
    if resource.custom {
        crd::warn_of_finalizers(&object);
    }
    resource.fill_in(&mut object);
    resource.strategy.begin(&mut object, resource.status, now);
    resource.fill_in(&mut object);
    meta::begin(resource, &mut object, entropy::uuid().map_err(Status::internal)?, now);
    let mut causes = meta::validate(resource, &object);
    causes.extend(resource.strategy.validate_new(&object));
    causes.extend(resource.strategy.validate(&object));
    causes.extend(resource.check(Change { new: &object, old: None }, StatusOnly::No));
    if causes.is_empty() {
        return Ok(object);
    }
    Err(Status::invalid(resource.subject_kind(&target.name), causes))
}
