//! The verbs: what create, get, list, update, patch, delete, bind and watch do to the store. Knows kinds and rules, not
//! HTTP: values go in, values or [`Status`] come out.

mod bind;
mod cascade;
mod create;
mod delete;
mod own;
mod read;
mod render;
mod seed;
mod update;
mod watch;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::crd;
use crate::json::text;
use crate::meta;
use crate::resource::{Registry, Resource};
use crate::status::Status;
use crate::store::{Limits, Store, StoreError, Txn};

pub use self::delete::{DeleteOptions, Propagation};
pub use self::read::ListOptions;
pub use self::render::Form;
pub use self::update::Part;
pub use self::watch::{Watch, WatchOptions};

/// What a request is about: a kind, perhaps a namespace, perhaps a name.
#[derive(Debug, Clone)]
pub struct Target {
    /// The kind.
    pub resource: Arc<Resource>,
    /// Empty for all namespaces and for cluster-wide kinds.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
}

impl Target {
    fn key(&self) -> String {
        self.resource.key(&self.namespace, &self.name)
    }

    fn prefix(&self) -> String {
        self.resource.prefix(Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty()))
    }

    fn not_found(&self) -> Status {
        Status::not_found(self.resource.subject(&self.name))
    }
}

/// What all writes may ask for.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Do everything except change anything.
    pub dry_run: bool,
    /// Who writes, for `managedFields`: the field manager that the client names, or else its program.
    pub manager: String,
}

/// The verbs over one store.
pub struct Api {
    store: Store,
    registry: Registry,
}

impl Api {
    /// Opens the store at `path`, makes the namespaces that always exist, and learns the custom kinds.
    pub async fn open(path: &Path, limits: Limits) -> Result<Self, Status> {
        let registry = Registry::default();
        let observer = registry.clone();
        let store = Store::open(path, limits, Box::new(move |events| observer.observe(events)))?;
        for definition in store.list(crd::PREFIX, None, 0)?.items {
            let definition: Value = serde_json::from_slice(&definition.body).map_err(Status::internal)?;
            registry.learn(&definition);
        }
        let api = Self { store, registry };
        api.seed().await?;
        Ok(api)
    }

    /// The kinds there are.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { .. } => Self::expired(error.to_string()),
            StoreError::Stopped => Self::new(503, "ServiceUnavailable", error.to_string()),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "the object store failed");
                Self::internal(other)
            }
        }
    }
}

/// Refuses to create `target` where its namespace or its definition is missing or on its way out.
fn admit_container(txn: &Txn<'_, '_>, target: &Target) -> Result<(), Status> {
    if target.resource.namespaced {
        admit_namespace(txn, target)?;
    }
    if target.resource.custom {
        let definition = txn.get(&crd::key(&target.resource))?;
        if definition.is_none_or(|definition| meta::is_ending(&definition)) {
            return Err(Status::no_such_path());
        }
    }
    Ok(())
}

fn admit_namespace(txn: &Txn<'_, '_>, target: &Target) -> Result<(), Status> {
    let Some(namespace) = txn.get(&cascade::namespace_key(&target.namespace))? else {
        let subject = crate::status::Subject {
            kind: "namespaces".into(),
            name: target.namespace.clone(),
            ..Default::default()
        };
        return Err(Status::not_found(subject));
    };
    if meta::is_ending(&namespace) {
        let name = text(&namespace, "metadata.name");
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        return Err(Status::forbidden(target.resource.subject(&target.name), &why));
    }
    Ok(())
}
