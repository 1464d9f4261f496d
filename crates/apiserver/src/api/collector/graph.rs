//! Who names whom as an owner. Holds keys and uids of dependents and of owners that wait, nothing of other objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::deletion::{FOREGROUND, ORPHAN, waits_for};
use crate::json::{items, text};
use crate::store::{Change, Event};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// A dependent at this key, whose owners may have gone.
    Judge(String),
    /// An owner at this key, which waits for its dependents.
    Finish(String),
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Keys of dependents by the uid of an owner.
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Uids of owners by the key of a dependent.
    owners: BTreeMap<String, BTreeSet<String>>,
    /// Keys of owners that wait, by their uid.
    waiting: BTreeMap<String, String>,
}

impl Graph {
    pub(super) fn has_dependents(&self, uid: &str) -> bool {
        self.dependents.contains_key(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Takes a change in; answers what is to be looked at because of it.
    pub(super) fn observe(&mut self, event: &Event) -> Vec<Work> {
        if !self.concerns(event) {
            return Vec::new();
        }
        let Ok(object) = serde_json::from_slice::<Value>(&event.body) else { return Vec::new() };
        match event.change {
            Change::Deleted => self.gone(&event.key, text(&object, "metadata.uid")),
            Change::Added | Change::Modified => self.there(&event.key, &object),
        }
    }

    /// Most objects neither have owners nor are any: their text is not even parsed.
    fn concerns(&self, event: &Event) -> bool {
        let mentions = |word: &str| contains(&event.body, word.as_bytes());
        (event.change == Change::Deleted && !self.dependents.is_empty())
            || self.owners.contains_key(&event.key)
            || mentions("\"ownerReferences\"")
            || mentions(FOREGROUND)
            || mentions("\"orphan\"")
    }

    fn there(&mut self, key: &str, object: &Value) -> Vec<Work> {
        let references = items(object, "metadata.ownerReferences").iter();
        let owners: BTreeSet<String> = references.map(|r| text(r, "uid").to_owned()).collect();
        let mut work = Vec::new();
        if self.owners.get(key).cloned().unwrap_or_default() != owners {
            let before = self.replace_owners(key, owners);
            work.extend(self.of_waiting(&before));
            work.push(Work::Judge(key.to_owned()));
        }
        if waits_for(object, FOREGROUND) || waits_for(object, ORPHAN) {
            self.waiting.insert(text(object, "metadata.uid").to_owned(), key.to_owned());
            work.push(Work::Finish(key.to_owned()));
        }
        work
    }

    fn gone(&mut self, key: &str, uid: &str) -> Vec<Work> {
        let before = self.replace_owners(key, BTreeSet::new());
        self.waiting.remove(uid);
        let mut work = self.of_waiting(&before);
        work.extend(self.dependents(uid).into_iter().map(Work::Judge));
        work
    }

    fn of_waiting(&self, uids: &BTreeSet<String>) -> Vec<Work> {
        uids.iter().filter_map(|uid| self.waiting.get(uid)).cloned().map(Work::Finish).collect()
    }

    /// Answers the owners that were known before.
    fn replace_owners(&mut self, key: &str, owners: BTreeSet<String>) -> BTreeSet<String> {
        let before = self.owners.remove(key).unwrap_or_default();
        for uid in &before {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in &owners {
            self.dependents.entry(uid.clone()).or_default().insert(key.to_owned());
        }
        if !owners.is_empty() {
            self.owners.insert(key.to_owned(), owners);
        }
        before
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(key: &str, change: Change, metadata: Value) -> Event {
        let body = json!({"metadata": metadata}).to_string().into();
        Event { revision: 1, key: key.into(), change, body, before: None }
    }

    fn owned(uid: &str, owner: &str) -> Value {
        json!({"uid": uid, "ownerReferences": [{"uid": owner}]})
    }

    #[test]
    fn a_dependent_is_judged_when_it_comes_and_when_its_owner_goes() {
        let mut graph = Graph::default();
        assert_eq!(graph.observe(&event("d", Change::Added, owned("1", "o"))), [Work::Judge("d".into())]);
        assert_eq!(graph.observe(&event("d", Change::Modified, owned("1", "o"))), []);
        assert_eq!(
            graph.observe(&event("o", Change::Deleted, json!({"uid": "o"}))),
            [Work::Judge("d".into())]
        );
        assert_eq!(graph.observe(&event("d", Change::Deleted, owned("1", "o"))), []);
        assert!(!graph.has_dependents("o"));
    }

    #[test]
    fn a_waiting_owner_is_looked_at_whenever_a_dependent_goes() {
        let mut graph = Graph::default();
        graph.observe(&event("d", Change::Added, owned("1", "o")));
        let waiting = json!({"uid": "o", "deletionTimestamp": "x", "finalizers": [FOREGROUND]});
        assert_eq!(graph.observe(&event("o", Change::Modified, waiting)), [Work::Finish("o".into())]);
        assert_eq!(graph.observe(&event("d", Change::Deleted, owned("1", "o"))), [Work::Finish("o".into())]);
    }
}
