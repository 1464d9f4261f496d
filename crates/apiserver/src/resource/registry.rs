//! The kinds known at this moment: built-in ones and those of all definitions. Readers take a snapshot; the store's
//! writer thread replaces it before the writer of a definition is answered, so a client that created one can use it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::{Resource, builtin};
use crate::crd;
use crate::store::{Change, Event};

/// Kinds at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    builtin: Vec<Arc<Resource>>,
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
}

impl Snapshot {
    /// All kinds, built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.builtin.iter().chain(self.custom.values().flatten())
    }

    /// The kind that the path segments name.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
    }

    /// A version of the kind whose object is stored at `key`.
    pub fn of_key(&self, key: &str) -> Option<&Arc<Resource>> {
        let kinds = key.match_indices('/').nth(1).map(|(at, _)| &key[..=at])?;
        self.iter().find(|r| r.prefix(None) == kinds)
    }

    /// One resource per distinct namespaced storage: what lives in a namespace.
    pub fn namespaced(&self) -> Vec<Arc<Resource>> {
        let mut by_prefix = BTreeMap::new();
        for resource in self.iter().filter(|r| r.namespaced && r.is_stored()) {
            by_prefix.entry(resource.prefix(None)).or_insert_with(|| resource.clone());
        }
        by_prefix.into_values().collect()
    }

    /// The served versions that the definition `name` made.
    pub fn defined_by(&self, name: &str) -> &[Arc<Resource>] {
        self.custom.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The current [`Snapshot`], shared.
#[derive(Debug, Clone)]
pub struct Registry(Arc<RwLock<Arc<Snapshot>>>);

impl Default for Registry {
    /// The built-in kinds.
    fn default() -> Self {
        let snapshot = Snapshot { builtin: builtin(), custom: BTreeMap::new() };
        Self(Arc::new(RwLock::new(Arc::new(snapshot))))
    }
}

impl Registry {
    /// The kinds known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what changed about definitions.
    pub fn observe(&self, events: &[Arc<Event>]) {
        for event in events.iter().filter(|e| e.key.starts_with(crd::PREFIX)) {
            let Ok(definition) = serde_json::from_slice::<Value>(&event.body) else { continue };
            match event.change {
                Change::Deleted => self.forget(&definition),
                Change::Added | Change::Modified => self.learn(&definition),
            }
        }
    }

    /// Makes the kinds of `definition` known, in place of those it made before.
    pub fn learn(&self, definition: &Value) {
        let kinds = crd::resources(definition).into_iter().map(Arc::new).collect();
        self.change(|custom| drop(custom.insert(crd::name(definition), kinds)));
    }

    fn forget(&self, definition: &Value) {
        self.change(|custom| drop(custom.remove(&crd::name(definition))));
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<String, Vec<Arc<Resource>>>)) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&current);
        edit(&mut next.custom);
        *current = Arc::new(next);
    }
}
