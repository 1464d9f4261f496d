//! Objects that hold others: namespaces hold what is in them, definitions hold the objects of their kind. Deleting one
//! deletes its contents; the container goes when the last of them has gone, which may be later (grace, finalizers).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::delete::{DeleteOptions, Deleted, Gone, delete_one};
use super::{Target, addresses, deletion, termination};
use crate::crd;
use crate::json::{items, text};
use crate::meta;
use crate::resource::{Resource, Snapshot};
use crate::status::Status;
use crate::store::Txn;

const NAMESPACES: &str = "core/namespaces/";

pub(super) fn namespace_key(name: &str) -> String {
    format!("{NAMESPACES}{name}")
}

/// True for the kinds that hold others.
pub(super) fn has_contents(resource: &Resource) -> bool {
    [NAMESPACES, crd::PREFIX].contains(&resource.prefix(None).as_str())
}

/// The kinds and key prefixes of what the container at `key` holds.
fn contents(kinds: &Snapshot, key: &str) -> Vec<(Arc<Resource>, String)> {
    if let Some(namespace) = key.strip_prefix(NAMESPACES) {
        return kinds.namespaced().into_iter().map(|r| (r.clone(), r.prefix(Some(namespace)))).collect();
    }
    let defined = key.strip_prefix(crd::PREFIX).and_then(|name| kinds.defined_by(name).first());
    defined.map(|r| (r.clone(), r.prefix(None))).into_iter().collect()
}

/// Marks a container and deletes what it holds, with each object's own grace.
pub(super) fn delete_container(
    txn: &mut Txn<'_, '_>,
    kinds: &Snapshot,
    target: &Target,
    object: Value,
    now: Timestamp,
) -> Result<Deleted, Status> {
    let key = target.key();
    let mut container = object;
    if !meta::is_ending(&container) {
        deletion::mark(&target.resource, &mut container, 0, now);
        container = txn.put(&key, container)?;
    }
    let options = DeleteOptions::default();
    for (resource, prefix) in contents(kinds, &key) {
        for (key, held) in txn.scan(&prefix)? {
            let (gone, last) = delete_one(txn, (&resource, &key), held, (&options, now))?;
            if gone == Gone::Yes {
                addresses::release(txn, &resource, &last)?;
            }
        }
    }
    if remove_if_done(txn, kinds, &key)? {
        return Ok((Gone::Yes, container));
    }
    if key.starts_with(NAMESPACES) {
        explain(txn, kinds, &key, now)?;
    }
    Ok((Gone::NotYet, container))
}

/// Says in the namespace's conditions what it waits for.
fn explain(txn: &mut Txn<'_, '_>, kinds: &Snapshot, key: &str, now: Timestamp) -> Result<(), Status> {
    let mut remaining = Vec::new();
    for (resource, prefix) in contents(kinds, key) {
        let held = txn.scan(&prefix)?.into_iter().map(|(_, object)| object);
        remaining.push((resource, held.collect()));
    }
    let Some(mut namespace) = txn.get(key)? else { return Ok(()) };
    let before = namespace.clone();
    termination::explain(&mut namespace, &remaining, now);
    if namespace != before {
        txn.put(key, namespace)?;
    }
    Ok(())
}

/// After the removal of `object`: removes the containers that only waited for it.
pub(super) fn sweep(
    txn: &mut Txn<'_, '_>,
    kinds: &Snapshot,
    resource: &Resource,
    object: &Value,
) -> Result<(), Status> {
    addresses::release(txn, resource, object)?;
    if resource.namespaced {
        remove_if_done(txn, kinds, &namespace_key(text(object, "metadata.namespace")))?;
    }
    if resource.custom {
        remove_if_done(txn, kinds, &crd::key(resource))?;
    }
    Ok(())
}

/// True if the container was removed: its deletion had begun, and nothing is left in it.
fn remove_if_done(txn: &mut Txn<'_, '_>, kinds: &Snapshot, key: &str) -> Result<bool, Status> {
    let Some(container) = txn.get(key)? else { return Ok(false) };
    if !meta::is_ending(&container) || !items(&container, "metadata.finalizers").is_empty() {
        return Ok(false);
    }
    for (_, prefix) in contents(kinds, key) {
        if !txn.is_empty(&prefix)? {
            return Ok(false);
        }
    }
    txn.remove(key, container)?;
    crd::release_names(txn, key)?;
    Ok(true)
}
