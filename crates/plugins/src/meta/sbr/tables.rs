//! Free routing tables: the lowest numbers from 100 that no rule names and no route is in.

use std::collections::BTreeSet;

use polynic_net::NsFacts;

/// The first number that is tried (spec/plugins.md 3.5).
const FIRST: u32 = 100;

/// Numbers that are taken.
pub(super) struct Tables(BTreeSet<u32>);

impl Tables {
    /// What rules and routes of a namespace use.
    pub(super) fn of(ns: &NsFacts) -> Self {
        let ruled = ns.rules.iter().map(|rule| rule.table);
        Self(ruled.chain(ns.routes.iter().map(|route| route.table)).collect())
    }

    /// Takes the lowest free one.
    pub(super) fn take(&mut self) -> u32 {
        let free = (FIRST..).find(|number| !self.0.contains(number)).unwrap_or(FIRST);
        self.0.insert(free);
        free
    }
}
