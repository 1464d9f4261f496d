//! One decision's view of the store: committed state, what earlier members of the group did, and its own staged writes.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::StoreError;
use super::hub::{Change, Event};
use super::objects::{Objects, Overlay, Scan};

/// Staged reads and writes of one decision. Nothing reaches the file unless the decision returns `Ok`.
pub struct Txn<'t, 'w> {
    committed: &'w Objects,
    /// What earlier decisions of the group did.
    group: &'t Overlay,
    pub(super) staged: Overlay,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) revision: u64,
    pub(super) discarded: bool,
}

impl<'t, 'w> Txn<'t, 'w> {
    pub(super) fn new(committed: &'w Objects, group: &'t Overlay, revision: u64) -> Self {
        Self { committed, group, staged: Overlay::new(), events: Vec::new(), revision, discarded: false }
    }

    /// The object at `key`, this decision's own writes included.
    pub fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        let Some(body) = self.body(key) else { return Ok(None) };
        parse(key, &body).map(Some)
    }

    /// True if there is an object at `key`.
    pub fn has(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.body(key).is_some())
    }

    fn body(&self, key: &str) -> Option<Bytes> {
        let over = self.staged.get(key).or_else(|| self.group.get(key));
        over.cloned().unwrap_or_else(|| self.committed.get(key).cloned())
    }

    /// All objects whose keys start with `prefix`, in key order.
    pub fn scan(&self, prefix: &str) -> Result<Vec<(String, Value)>, StoreError> {
        let over = self.over(prefix);
        let found = Scan::new(self.committed, &over, prefix, "");
        found.map(|(key, body)| Ok((key.clone(), parse(key, body)?))).collect()
    }

    /// True if no object's key starts with `prefix`.
    pub fn is_empty(&self, prefix: &str) -> Result<bool, StoreError> {
        let over = self.over(prefix);
        Ok(Scan::new(self.committed, &over, prefix, "").next().is_none())
    }

    /// What under `prefix` is not as it is committed.
    fn over(&self, prefix: &str) -> Overlay {
        let of = |changes: &Overlay| -> Overlay {
            let from = changes.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            from.map(|(key, body)| (key.clone(), body.clone())).collect()
        };
        let mut over = of(self.group);
        over.extend(of(&self.staged));
        over
    }

    /// Stages `object` at `key` and returns it with the resourceVersion it got.
    pub fn put(&mut self, key: &str, object: Value) -> Result<Value, StoreError> {
        let before = self.body(key);
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        let (object, body) = self.stamp(key, object)?;
        self.staged.insert(key.to_owned(), Some(body.clone()));
        self.record(key, change, body, before);
        Ok(object)
    }

    /// Stages the removal of `key`, whose last state is `object`, and returns that with the deletion's resourceVersion.
    pub fn remove(&mut self, key: &str, object: Value) -> Result<Value, StoreError> {
        let Some(before) = self.body(key) else { return Ok(object) };
        let (object, body) = self.stamp(key, object)?;
        self.staged.insert(key.to_owned(), None);
        self.record(key, Change::Deleted, body, Some(before));
        Ok(object)
    }

    /// Lets the decision succeed without effect: a dry run.
    pub fn discard(&mut self) {
        self.discarded = true;
    }

    /// True in a dry run.
    pub fn is_discarded(&self) -> bool {
        self.discarded
    }

    fn stamp(&mut self, key: &str, mut object: Value) -> Result<(Value, Bytes), StoreError> {
        let damaged = |detail: String| StoreError::Damaged { key: key.to_owned(), detail };
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.ok_or_else(|| damaged("no metadata".into()))?;
        self.revision += 1;
        metadata.insert("resourceVersion".into(), json!(self.revision.to_string()));
        let body = serde_json::to_vec(&object).map_err(|e| damaged(e.to_string()))?;
        Ok((object, body.into()))
    }

    fn record(&mut self, key: &str, change: Change, body: Bytes, before: Option<Bytes>) {
        let event = Event { revision: self.revision, key: key.to_owned(), change, body, before };
        self.events.push(Arc::new(event));
    }
}

fn parse(key: &str, body: &[u8]) -> Result<Value, StoreError> {
    serde_json::from_slice(body)
        .map_err(|e| StoreError::Damaged { key: key.to_owned(), detail: e.to_string() })
}
