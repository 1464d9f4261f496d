//! What was rendered for one pod, for the next that needs the same. Nothing is kept that no pod's table holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use polynic_net::FwRuleset;

use super::{Concerned, entry};
use crate::index::Options;
use crate::names::Direction;
use crate::pod::ContainerPort;

/// Results by what they were made from.
#[derive(Debug)]
struct Shared<K>(Vec<(K, Weak<FwRuleset>)>);

impl<K> Shared<K> {
    fn get(&self, is_it: impl Fn(&K) -> bool) -> Option<Arc<FwRuleset>> {
        self.0.iter().find(|(key, _)| is_it(key))?.1.upgrade()
    }

    fn keep(&mut self, key: K, made: FwRuleset) -> Arc<FwRuleset> {
        let made = Arc::new(made);
        self.0.retain(|(_, kept)| kept.strong_count() > 0);
        self.0.push((key, Arc::downgrade(&made)));
        made
    }
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What of a pod a policy's part follows from.
type Seen = (BTreeSet<String>, Vec<ContainerPort>);

/// A policy's parts, until the policy or its peers change.
#[derive(Debug, Default)]
pub(crate) struct Parts(Shared<Seen>);

impl Parts {
    /// The part for a pod with these interfaces and ports.
    pub(crate) fn get(
        &self,
        interfaces: &BTreeSet<String>,
        ports: &[ContainerPort],
    ) -> Option<Arc<FwRuleset>> {
        self.0.get(|(on, with)| on == interfaces && with == ports)
    }

    /// Takes note of one that was made.
    pub(crate) fn keep(
        &mut self,
        interfaces: BTreeSet<String>,
        ports: &[ContainerPort],
        made: FwRuleset,
    ) -> Arc<FwRuleset> {
        self.0.keep((interfaces, ports.to_vec()), made)
    }

    /// The policy or its peers have changed.
    pub(crate) fn clear(&mut self) {
        self.0.0.clear();
    }
}

/// A policy by its hash, and whether it isolates a pod, by direction.
type Isolating = (Arc<str>, [bool; 2]);

/// The chains that lead to policies, by which these are.
#[derive(Debug, Default)]
pub(crate) struct Entries(Shared<Vec<Isolating>>);

impl Entries {
    pub(super) fn of(&mut self, concerned: &[Concerned<'_>], options: &Options) -> Arc<FwRuleset> {
        let all = || concerned.iter().map(isolating);
        if let Some(made) = self.0.get(|key| key.len() == concerned.len() && all().eq(key.iter().cloned())) {
            return made;
        }
        self.0.keep(all().collect(), entry(concerned, options))
    }
}

fn isolating(one: &Concerned<'_>) -> Isolating {
    let isolates = Direction::BOTH.map(|direction| one.held.policy.rules(direction).is_some());
    (Arc::clone(&one.held.names.hash), isolates)
}
