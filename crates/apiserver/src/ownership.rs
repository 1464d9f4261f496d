//! Field ownership: who may say what a field is, kept in `metadata.managedFields`; and server-side apply, which is built on
//! it. Pure: objects and a schema go in, an object or conflicts come out.
//!
//! Rules: the Server-Side Apply page of the Kubernetes documentation; where it is silent, the outcomes of
//! `sigs.k8s.io/structured-merge-diff/v6` and `k8s.io/apimachinery/pkg/util/managedfields` at 1.35.

mod apply;
mod collect;
mod compare;
mod conflict;
mod declared;
mod entries;
mod last_applied;
mod merge;
mod path;
mod remove;
mod set;
mod shape;
mod update;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub(crate) use self::apply::{ApplyError, apply};
pub(crate) use self::conflict::{Conflict, sentence};
pub(crate) use self::set::Set;
pub(crate) use self::shape::Shape;
pub(crate) use self::update::update;

use self::entries::{Identity, Managers, Operation};

/// Fields of every object that nobody owns: identity, and what only the server writes.
const UNOWNED: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// One write, as ownership sees it.
#[derive(Debug, Clone)]
pub(crate) struct Write<'a> {
    /// Who writes.
    pub(crate) manager: &'a str,
    /// In which version.
    pub(crate) version: &'a str,
    /// Through which sub-resource; empty for the object itself.
    pub(crate) subresource: &'a str,
    /// When, RFC 3339.
    pub(crate) now: &'a str,
    /// The schema of the object.
    pub(crate) shape: Shape<'a>,
    /// An object of the kind of which nothing is said.
    pub(crate) zero: &'a Value,
    /// Fields that this way of writing puts back; nobody owns them by it.
    pub(crate) reset: &'a Set,
}

impl Write<'_> {
    fn identity(&self, operation: Operation) -> Identity {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        let version = if operation == Operation::Update { self.version } else { "" };
        Identity {
            operation,
            manager: manager.into(),
            version: version.into(),
            subresource: self.subresource.into(),
        }
    }

    /// Takes out of what `identity` owns that which nobody owns.
    fn strip(&self, managers: &mut Managers, identity: &Identity) {
        let Some(owned) = managers.get_mut(identity) else { return };
        owned.fields = owned.fields.difference(&Set::of(UNOWNED));
        if owned.fields.is_empty() {
            managers.remove(identity);
        }
    }
}

/// The entries of an object.
fn entries_of(object: &Value) -> &Value {
    &object["metadata"]["managedFields"]
}

/// `object` with entries that tell of `managers`, or without any.
fn with_entries(mut object: Value, managers: Option<&Managers>) -> Value {
    let entries = managers.and_then(entries::encode);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match entries {
            Some(entries) => drop(metadata.insert("managedFields".into(), entries)),
            None => drop(metadata.remove("managedFields")),
        }
    }
    object
}

/// True if `new` differs from `old` in the times of entries alone.
pub(crate) fn only_times_differ(new: &Value, old: &Value) -> bool {
    let without_times = |object: &Value| {
        let mut object = object.clone();
        let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        object
    };
    without_times(new) == without_times(old)
}
