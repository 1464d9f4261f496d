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
type Seen = (Arc<BTreeSet<String>>, Vec<ContainerPort>);

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
        self.0.get(|(on, with)| **on == *interfaces && with == ports)
    }

    /// Takes note of one that was made.
    pub(crate) fn keep(
        &mut self,
        interfaces: Arc<BTreeSet<String>>,
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

/// What a policy does to packets of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing.
    Absent,
    /// It isolates interfaces that another policy has isolated before.
    Joins,
    /// It isolates interfaces that no policy before it does.
    Leads,
}

/// A policy by its hash, and its part in both directions.
pub(super) type Role = (Arc<str>, [Part; 2]);

/// The chains that lead to policies, by which these are.
#[derive(Debug, Default)]
pub(crate) struct Entries(Shared<Vec<Role>>);

impl Entries {
    pub(super) fn of(&mut self, concerned: &[Concerned<'_>], options: &Options) -> Arc<FwRuleset> {
        let roles = roles(concerned);
        if let Some(made) = self.0.get(|key| *key == roles) {
            return made;
        }
        let made = entry(concerned, &roles, options);
        self.0.keep(roles, made)
    }
}

fn roles(concerned: &[Concerned<'_>]) -> Vec<Role> {
    let mut isolated = [BTreeSet::new(), BTreeSet::new()];
    let role = |one: &Concerned<'_>| {
        let mut parts = [Part::Absent; 2];
        for (at, direction) in Direction::BOTH.into_iter().enumerate() {
            if one.held.policy.rules(direction).is_some() {
                let before = isolated[at].len();
                isolated[at].extend(one.interfaces.iter().cloned());
                parts[at] = if isolated[at].len() > before { Part::Leads } else { Part::Joins };
            }
        }
        (Arc::clone(&one.held.names.hash), parts)
    };
    concerned.iter().map(role).collect()
}
