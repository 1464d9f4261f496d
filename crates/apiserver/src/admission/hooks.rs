//! The webhooks of all configurations at this moment, in the order in which they are asked: by the name of the
//! configuration, then as written in it. Kept up to date by the store's writer, like the kinds.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::hook::Hook;
use crate::json::{items, text};
use crate::store::{Change, Event};

/// Keys of the two kinds of configurations start with these.
pub(crate) const PREFIXES: [&str; 2] = [MUTATING, VALIDATING];
const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations/";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations/";

type Configurations = BTreeMap<String, Vec<Arc<Hook>>>;

/// The webhooks, shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks(Arc<RwLock<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    mutating: Configurations,
    validating: Configurations,
}

impl Hooks {
    /// Takes in what changed about configurations.
    pub(crate) fn observe(&self, events: &[Arc<Event>]) {
        for event in events.iter().filter(|e| PREFIXES.iter().any(|prefix| e.key.starts_with(prefix))) {
            let Ok(configuration) = serde_json::from_slice::<Value>(&event.body) else { continue };
            match event.change {
                Change::Deleted => self.forget(&event.key, &configuration),
                Change::Added | Change::Modified => self.learn(&event.key, &configuration),
            }
        }
    }

    /// Makes the webhooks of the configuration at `key` known, in place of those it had before.
    pub(crate) fn learn(&self, key: &str, configuration: &Value) {
        let hooks = items(configuration, "webhooks").iter().map(|hook| Arc::new(Hook::read(hook))).collect();
        self.change(key, |all| drop(all.insert(text(configuration, "metadata.name").into(), hooks)));
    }

    fn forget(&self, key: &str, configuration: &Value) {
        self.change(key, |all| drop(all.remove(text(configuration, "metadata.name"))));
    }

    fn change(&self, key: &str, edit: impl FnOnce(&mut Configurations)) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        edit(if key.starts_with(MUTATING) { &mut kept.mutating } else { &mut kept.validating });
    }

    pub(super) fn mutating(&self) -> Vec<Arc<Hook>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.mutating.values().flatten().cloned().collect()
    }

    pub(super) fn validating(&self) -> Vec<Arc<Hook>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.validating.values().flatten().cloned().collect()
    }
}
