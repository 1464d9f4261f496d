//! Writes that webhooks have a say in. They cannot be one decision, because nobody may hold the store while a webhook
//! thinks: the object is read, changed and shown to the webhooks, and written if it is still what was read; otherwise once
//! more. Writes that no webhook wants to see take the short way and never come here.

use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::{self, Deleted};
use super::update::{self, Edit, Part};
use super::{Api, Asker, DeleteOptions, Target, WriteOptions, admit_container};
use crate::admission::{Attributes, Operation, Place, World};
use crate::json::text;
use crate::meta;
use crate::resource::Snapshot;
use crate::status::Status;

/// Times that a write is begun anew because somebody else was faster.
const ATTEMPTS: usize = 16;

/// Where a request on `target` goes.
pub(super) fn place(target: &Target, operation: Operation, subresource: &'static str) -> Place {
    Place { operation, resource: target.resource.clone(), subresource }
}

/// The request as webhooks see it, still without objects.
pub(super) fn attributes(target: &Target, place: Place, told: Told) -> Attributes {
    let namespaces = target.resource.group.is_empty() && target.resource.plural == "namespaces";
    let namespace = if namespaces { &target.name } else { &target.namespace };
    Attributes {
        place,
        namespace: namespace.clone(),
        name: target.name.clone(),
        object: Value::Null,
        old: Value::Null,
        options: told.options,
        dry_run: told.dry_run,
        user: told.user,
    }
}

/// What webhooks are told of a request besides objects.
#[derive(Debug, Default)]
pub(super) struct Told {
    user: Value,
    options: Value,
    dry_run: bool,
}

/// Of a write or a deletion, whose options are of `kind`.
fn told(kind: &str, asker: &Asker, dry_run: bool) -> Told {
    let mut options = asker.options.as_object().cloned().unwrap_or_default();
    options.insert("kind".into(), json!(kind));
    options.insert("apiVersion".into(), json!("meta.k8s.io/v1"));
    if dry_run {
        options.insert("dryRun".into(), json!(["All"]));
    }
    Told { user: asker.user.clone(), options: Value::Object(options), dry_run }
}

fn options_of(kind: &str, options: &WriteOptions) -> Told {
    told(kind, &options.asker, options.dry_run)
}

impl Api {
    /// True if some webhook wants to see requests at `place`.
    pub(super) fn is_watched(&self, place: &Place) -> bool {
        self.admission.watches(place, &self.registry.snapshot())
    }

    /// The object as mutating webhooks want it, checked again: they may not change what it is.
    pub(super) async fn mutated(&self, target: &Target, request: Attributes) -> Result<Value, Status> {
        let kinds = self.registry.snapshot();
        let world = World { store: &self.store, kinds: &kinds };
        let mut object = self.admission.mutate(world, request).await?;
        meta::check_shape(&target.resource, &mut object)?;
        target.resource.settle(&mut object);
        Ok(object)
    }

    /// Lets validating webhooks object.
    pub(super) async fn validated(&self, request: &Attributes) -> Result<(), Status> {
        let kinds = self.registry.snapshot();
        self.admission.validate(World { store: &self.store, kinds: &kinds }, request).await
    }

    /// Asks about a connection (exec, attach, port forwarding) before it is made. `options` are those of the connection,
    /// such as PodExecOptions.
    pub async fn admit_connect(
        &self,
        target: &Target,
        subresource: &'static str,
        (options, user): (Value, Value),
    ) -> Result<(), Status> {
        let place = place(target, Operation::Connect, subresource);
        if !self.is_watched(&place) {
            return Ok(());
        }
        let mut request = attributes(target, place, Told { user, ..Told::default() });
        request.object = options;
        let kinds = self.registry.snapshot();
        let world = World { store: &self.store, kinds: &kinds };
        self.admission.mutate(world, request.clone()).await?;
        self.validated(&request).await
    }

    /// What webhooks make of an object of a kind of its own (a Scale, a Binding) that is written through the sub-resource of `target`.
    pub(super) async fn admit_below(
        &self,
        target: &Target,
        (operation, subresource): (Operation, &'static str),
        (object, old): (Value, Value),
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let place = place(target, operation, subresource);
        if !self.is_watched(&place) {
            return Ok(object);
        }
        let kind = if operation == Operation::Create { "CreateOptions" } else { "UpdateOptions" };
        let request = attributes(target, place, options_of(kind, options));
        let request = Attributes { object, old, ..request };
        let kinds = self.registry.snapshot();
        let world = World { store: &self.store, kinds: &kinds };
        let object = self.admission.mutate(world, request.clone()).await?;
        let request = Attributes { object, ..request };
        self.validated(&request).await?;
        Ok(request.object)
    }

    /// A new object after the mutating webhooks. Its namespace must be there before anybody is asked.
    pub(super) async fn admit_new(
        &self,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let place = place(target, Operation::Create, "");
        if !self.is_watched(&place) {
            return Ok(object);
        }
        let read = |key: &str| self.read(key);
        admit_container(&read, target)?;
        target.resource.fill_in(&mut object);
        let name = text(&object, "metadata.name").to_owned();
        let named = Target { name, ..target.clone() };
        let request = attributes(&named, place, options_of("CreateOptions", options));
        let mut object = self.mutated(&named, Attributes { object, ..request }).await?;
        target.resource.fill_in(&mut object);
        Ok(object)
    }

    /// Lets validating webhooks object to a new object, which is whole.
    pub(super) async fn validate_new(
        &self,
        target: &Target,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let place = place(target, Operation::Create, "");
        if !self.is_watched(&place) {
            return Ok(());
        }
        let request = attributes(target, place, options_of("CreateOptions", options));
        self.validated(&Attributes { object: target.resource.serve(object)?, ..request }).await
    }

    /// What [`update::replace`] does, with webhooks. Answers the stored object.
    pub(super) async fn edit_admitted(
        &self,
        (target, part): (&Target, Part),
        options: &WriteOptions,
        edit: &Edit,
    ) -> Result<Value, Status> {
        let place = place(target, Operation::Update, part.subresource());
        for _ in 0..ATTEMPTS {
            let old = self.read(&target.key())?.ok_or_else(|| target.not_found())?;
            let served = target.resource.serve(&old)?;
            let mut proposed = edit(&served)?;
            meta::check_shape(&target.resource, &mut proposed)?;
            let request = Attributes {
                old: served,
                ..attributes(target, place.clone(), options_of("UpdateOptions", options))
            };
            let proposed = Attributes { object: proposed, ..request.clone() };
            let new = self.mutated(target, proposed).await?;
            let new = update::decide(target, part, target.resource.absorb(new), &old)?;
            let shown = Attributes { object: target.resource.serve(&new)?, ..request };
            self.validated(&shown).await?;
            if let Some(stored) = self.commit(target, (old, new), options.dry_run).await? {
                return Ok(stored);
            }
        }
        Err(Status::modified(target.resource.subject(&target.name)))
    }

    /// Writes `new` if `old` is what is still there.
    async fn commit(
        &self,
        target: &Target,
        (old, new): (Value, Value),
        dry_run: bool,
    ) -> Result<Option<Value>, Status> {
        let (kinds, target) = (self.registry.snapshot(), target.clone());
        let written = self.store.transact(move |txn| {
            if dry_run {
                txn.discard();
            }
            if txn.get(&target.key())?.as_ref() != Some(&old) {
                return Ok(None);
            }
            update::write(txn, &kinds, &target, (old, new)).map(Some)
        });
        written.await
    }

    /// A deletion that webhooks have a say in.
    pub(super) async fn delete_admitted(
        &self,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        for _ in 0..ATTEMPTS {
            let old = self.read(&target.key())?.ok_or_else(|| target.not_found())?;
            delete::check_preconditions(target, options, &old)?;
            if !meta::is_ending(&old) {
                self.admit_deletion(target, options, &old).await?;
            }
            if let Some(deleted) = self.delete_if(target, options, old).await? {
                return Ok(deleted);
            }
        }
        Err(Status::modified(target.resource.subject(&target.name)))
    }

    async fn admit_deletion(
        &self,
        target: &Target,
        options: &DeleteOptions,
        old: &Value,
    ) -> Result<(), Status> {
        let place = place(target, Operation::Delete, "");
        let mut request = attributes(target, place, told("DeleteOptions", &options.asker, options.dry_run));
        if options.in_collection {
            request.name.clear();
        }
        request.old = target.resource.serve(old)?;
        let kinds = self.registry.snapshot();
        let world = World { store: &self.store, kinds: &kinds };
        self.admission.mutate(world, request.clone()).await?;
        self.validated(&request).await
    }

    async fn delete_if(
        &self,
        target: &Target,
        options: &DeleteOptions,
        old: Value,
    ) -> Result<Option<Deleted>, Status> {
        let (kinds, target, options): (Arc<Snapshot>, _, _) =
            (self.registry.snapshot(), target.clone(), options.clone());
        let done = self.store.transact(move |txn| {
            if options.dry_run {
                txn.discard();
            }
            if txn.get(&target.key())?.as_ref() != Some(&old) {
                return Ok(None);
            }
            delete::delete(txn, &kinds, &target, &options).map(Some)
        });
        done.await
    }

    fn read(&self, key: &str) -> Result<Option<Value>, Status> {
        let stored = self.store.get(key)?;
        stored.map(|stored| serde_json::from_slice(&stored.body).map_err(Status::internal)).transpose()
    }
}
