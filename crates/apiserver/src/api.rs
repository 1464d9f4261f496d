//! The verbs: what create, get, list, update, patch, delete, bind and watch do to the store. Knows kinds and rules, not
//! HTTP: values go in, values or [`Status`] come out.

mod addresses;
mod admit;
pub(crate) mod aggregate;
mod bind;
mod cascade;
pub(crate) mod collector;
mod create;
mod cursor;
mod delete;
mod deletion;
mod evict;
mod look;
mod own;
mod read;
mod render;
mod scale;
mod seed;
mod termination;
mod update;
mod watch;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::access::Guard;
use crate::admission::{Admission, Hooks, PREFIXES as HOOKS, ServiceResolver};
use crate::crd;
use crate::decode::FieldValidation;
use crate::json::text;
use crate::meta;
use crate::resource::{Registry, Resource};
use crate::status::{Cause, Status};
use crate::store::{Event, Limits, Range, Store, StoreError};

pub use self::delete::{DeleteOptions, Propagation};
pub use self::read::{ListOptions, Revision};
pub use self::render::Form;
pub(crate) use self::seed::SERVICE_RANGES;
pub use self::update::Part;
pub use self::watch::{Initial, Watch, WatchOptions};

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
    /// What happens to fields that the kind has not.
    pub validation: FieldValidation,
    /// Watches over rights that the write would give.
    pub(crate) guard: Option<Arc<Guard>>,
    /// What webhooks are told of it.
    pub(crate) asker: Asker,
}

/// Who asks, and with which options: what webhooks are told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// As `userInfo`; null for the server itself.
    pub(crate) user: Value,
    /// The options that the client gave, as an object; null for none.
    pub(crate) options: Value,
}

/// How an API is to be opened.
pub struct Options {
    /// Bounds of what is kept in memory for watches.
    pub limits: Limits,
    /// How webhooks that are Services are reached.
    pub resolver: Option<Arc<dyn ServiceResolver>>,
    /// Where Services get their addresses in a store that is new: networks of one or both families.
    pub service_ranges: Vec<String>,
}

/// The verbs over one store.
pub struct Api {
    store: Store,
    registry: Registry,
    admission: Admission,
}

impl Api {
    /// Opens the store at `path`, makes the namespaces that always exist, and learns the custom kinds.
    /// Webhooks that are Services are reached through `resolver`, or by the addresses that the API knows.
    pub async fn open(path: &Path, options: Options) -> Result<Self, Status> {
        let Options { limits, resolver, service_ranges } = options;
        let registry = Registry::default();
        let hooks = Hooks::default();
        let (kinds, asked) = (registry.clone(), hooks.clone());
        let observer = move |events: &[Arc<Event>]| {
            kinds.observe(events);
            asked.observe(events);
        };
        let store = Store::open(path, limits, Box::new(observer))?;
        for definition in store.list(Range::under(crd::PREFIX))?.items {
            let definition: Value = serde_json::from_slice(&definition.body).map_err(Status::internal)?;
            registry.learn(&definition);
        }
        let api = Self { store, registry, admission: Admission { hooks, resolver } };
        api.seed(&service_ranges).await?;
        // Not before: the server's own namespaces are nobody's to refuse.
        for configuration in HOOKS.iter().map(|prefix| api.store.list(Range::under(prefix))) {
            for stored in configuration?.items {
                let configuration = serde_json::from_slice(&stored.body).map_err(Status::internal)?;
                api.admission.hooks.learn(&stored.key, &configuration);
            }
        }
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
            StoreError::Future { .. } => Self::too_large_revision(error.to_string()),
            StoreError::Stopped => Self::new(503, "ServiceUnavailable", error.to_string()),
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "the object store failed");
                Self::internal(other)
            }
        }
    }
}

/// Reads the object at a key, inside of a decision or outside.
type Read<'a> = dyn Fn(&str) -> Result<Option<Value>, Status> + 'a;

/// Refuses to create `target` where its namespace or its definition is missing or on its way out.
fn admit_container(read: &Read<'_>, target: &Target) -> Result<(), Status> {
    if target.resource.namespaced {
        admit_namespace(read, target)?;
    }
    if target.resource.custom {
        let definition = read(&crd::key(&target.resource))?;
        if definition.is_none_or(|definition| meta::is_ending(&definition)) {
            return Err(Status::no_such_path());
        }
    }
    Ok(())
}

fn admit_namespace(read: &Read<'_>, target: &Target) -> Result<(), Status> {
    let Some(namespace) = read(&cascade::namespace_key(&target.namespace))? else {
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
        let cause = Cause {
            field: "metadata.namespace".into(),
            reason: "NamespaceTerminating",
            message: format!("namespace {name} is being terminated"),
        };
        let refused = Status::forbidden(target.resource.subject(&target.name), &why);
        return Err(Status { causes: vec![cause], ..refused });
    }
    Ok(())
}
