//! What kinds there are: names, scope, sub-resources, columns and rules, as data. The names of built-in kinds are facts of the
//! real server (`schema`), their rules a row in `resource/builtin.rs`; custom kinds come from their definitions
//! (`crate::crd`). Holds no objects.

mod builtin;
mod registry;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::crd::{Change, Scale, Shape};
use crate::decode;
use crate::schema::{self, Below, Node};
use crate::status::{Cause, Status, Subject};
use crate::strategy::Strategy;
use crate::table::Column;

pub use self::registry::{Registry, Snapshot};

/// How stored objects are turned into what this version's clients get, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Stored as served.
    None,
    /// Only `apiVersion` differs: the versions of a custom kind.
    ApiVersion,
    /// events.k8s.io/v1, stored as core/v1 events.
    Events,
}

/// Whether a write is about status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusOnly {
    Yes,
    No,
}

/// One kind in one version, as discovery and the verbs know it.
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// Kind of the objects.
    pub kind: String,
    /// Kind of a list of them.
    pub list_kind: String,
    /// Name in paths.
    pub plural: String,
    /// Name of one, for kubectl.
    pub singular: String,
    /// Abbreviations, for kubectl.
    pub short_names: Vec<String>,
    /// Groups of resources that kubectl lists together, such as `all`.
    pub categories: Vec<String>,
    /// True if the objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with the objects.
    pub verbs: Vec<String>,
    /// What there is below an object.
    pub below: Vec<Below>,
    /// Discovery's token for the way in which the kind is stored; empty if it is not.
    pub storage_version_hash: String,
    /// True if status is written through its own path only.
    pub status: bool,
    /// True if `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// True for kinds defined by a CustomResourceDefinition.
    pub custom: bool,
    /// Group under which the objects are stored.
    pub storage_group: String,
    /// From stored to served.
    pub conversion: Conversion,
    /// Field labels for selectors, besides `metadata.name` and `metadata.namespace`.
    pub field_labels: Vec<String>,
    /// OpenAPI schema of a custom kind's objects, as its definition has it.
    pub schema: Option<Value>,
    /// Type of a custom kind's objects; [`Resource::model`] knows those of built-in kinds too.
    pub custom_model: Option<Arc<Node>>,
    /// What is checked about a custom kind's objects, and their defaults.
    pub shape: Option<Arc<Shape>>,
    /// Columns of its table.
    pub columns: Vec<Column>,
    /// Defaults, checks and deletion rules.
    pub strategy: &'static dyn Strategy,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.plural, self.group, self.version)
    }
}

impl Resource {
    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// The type of the objects, where one is known.
    pub fn model(&self) -> Option<&Node> {
        match &self.custom_model {
            Some(node) => Some(node),
            None => schema::builtin(&self.group, &self.version, &self.kind).filter(|_| !self.custom),
        }
    }

    /// Keys of all objects, or of those of one namespace, start with this.
    pub fn prefix(&self, namespace: Option<&str>) -> String {
        let group = if self.storage_group.is_empty() { "core" } else { &self.storage_group };
        match namespace {
            Some(namespace) => format!("{group}/{}/{namespace}/", self.plural),
            None => format!("{group}/{}/", self.plural),
        }
    }

    /// Key of one object; `namespace` is ignored for cluster-wide kinds.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let namespace = Some(namespace).filter(|_| self.namespaced);
        format!("{}{name}", self.prefix(namespace))
    }

    /// What an error about `name` is about.
    pub fn subject(&self, name: &str) -> Subject {
        Subject { group: self.group.clone(), kind: self.plural.clone(), name: name.into() }
    }

    /// The same for 422 answers, which name the kind.
    pub fn subject_kind(&self, name: &str) -> Subject {
        Subject { group: self.group.clone(), kind: self.kind.clone(), name: name.into() }
    }

    /// A stored object as this version's clients see it.
    pub fn present(&self, body: &[u8]) -> Result<Value, Status> {
        let mut object: Value = serde_json::from_slice(body).map_err(Status::internal)?;
        match self.conversion {
            Conversion::None => {}
            Conversion::ApiVersion => object["apiVersion"] = json!(self.api_version()),
            Conversion::Events => {
                crate::strategy::event::to_events_group(&mut object);
                decode::complete(self, &mut object);
            }
        }
        match &self.shape {
            // Another version may describe more than this one.
            Some(shape) if self.conversion == Conversion::ApiVersion => drop(shape.settle(&mut object)),
            Some(shape) if shape.has_defaults() => shape.fill(&mut object),
            _ => {}
        }
        Ok(object)
    }

    /// The same of an object that nobody else needs.
    pub(crate) fn serve_owned(&self, stored: Value) -> Result<Value, Status> {
        if self.is_served_as_stored() { Ok(stored) } else { self.serve(&stored) }
    }

    /// The same of an object that is parsed already.
    pub fn serve(&self, stored: &Value) -> Result<Value, Status> {
        if self.is_served_as_stored() {
            return Ok(stored.clone());
        }
        self.present(&serde_json::to_vec(stored).map_err(Status::internal)?)
    }

    /// The same as text; free of work where stored and served are the same.
    pub fn present_text(&self, body: &Bytes) -> Result<Bytes, Status> {
        if self.is_served_as_stored() {
            return Ok(body.clone());
        }
        let object = self.present(body)?;
        serde_json::to_vec(&object).map(Bytes::from).map_err(Status::internal)
    }

    /// Stored and served are the same text; a default that came later would make a difference.
    fn is_served_as_stored(&self) -> bool {
        self.conversion == Conversion::None && !self.shape.as_ref().is_some_and(|shape| shape.has_defaults())
    }

    /// Makes of a decoded custom object what is stored, and names the fields that its type has not.
    pub(crate) fn settle(&self, object: &mut Value) -> Vec<String> {
        let Some(shape) = &self.shape else { return Vec::new() };
        let unknown = shape.settle(object).into_iter();
        unknown.map(|path| format!("unknown field \"{path}\"")).collect()
    }

    /// What is wrong with a custom object, by its definition.
    pub(crate) fn check(&self, change: Change<'_>, status_only: StatusOnly) -> Vec<Cause> {
        match (&self.shape, status_only) {
            (None, _) => Vec::new(),
            (Some(shape), StatusOnly::No) => shape.validate(change),
            (Some(shape), StatusOnly::Yes) => shape.validate_status(change),
        }
    }

    /// Fills in what the kind has where a stored object says nothing.
    pub(crate) fn fill_in(&self, object: &mut Value) {
        if self.conversion == Conversion::None {
            decode::complete(self, object);
        }
        self.strategy.default(object);
    }

    /// What a client of this version sent, as it is stored.
    pub fn absorb(&self, mut object: Value) -> Value {
        if self.conversion == Conversion::Events {
            crate::strategy::event::to_core(&mut object);
            decode::complete_as("", "v1", "Event", &mut object);
        }
        object
    }

    /// True if the objects can be asked to do `verb`.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// What clients are told about a kind that is on its way out.
    pub(crate) fn deprecation(&self) -> Option<&'static str> {
        match (self.group.as_str(), self.plural.as_str()) {
            ("", "endpoints") => {
                Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
            }
            ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
            _ => None,
        }
    }

    /// True if objects of this kind are stored; others only answer, such as reviews.
    pub fn is_stored(&self) -> bool {
        self.allows("list")
    }

    /// The resource `name` below the objects.
    pub fn below(&self, name: &str) -> Option<&Below> {
        self.below.iter().find(|below| below.name == name)
    }

    /// Where the fields of a Scale are, for kinds that can be scaled.
    pub(crate) fn scale(&self) -> Option<Scale> {
        match &self.shape {
            Some(shape) => shape.scale.clone(),
            None => self.below("scale").map(|_| Scale::builtin()),
        }
    }

    /// True if field selectors may use `label`.
    pub fn knows_field(&self, label: &str) -> bool {
        let everywhere = label == "metadata.name" || (self.namespaced && label == "metadata.namespace");
        everywhere || self.field_labels.iter().any(|known| known == label)
    }
}

/// `group/version`, or the version alone in the core group.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// All kinds that exist without any definition.
pub(crate) fn builtin() -> Vec<Arc<Resource>> {
    schema::kinds().iter().map(|kind| Arc::new(builtin::resource(kind))).collect()
}
