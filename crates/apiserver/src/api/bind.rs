//! pods/binding: how a scheduler gives a pod its node.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Api, Target, WriteOptions};
use crate::admission::Operation;
use crate::json::text;
use crate::status::{Cause, Status, Subject};
use crate::strategy;

impl Api {
    /// Binds the pod `target` to the node that `binding.target.name` names.
    pub async fn bind(
        &self,
        target: &Target,
        binding: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let node = text(&binding, "target.name").to_owned();
        if node.is_empty() {
            let causes = vec![Cause::required("target.name", "")];
            return Err(Status::invalid(target.resource.subject_kind(&target.name), causes));
        }
        let binding = self.owned_binding(target, typed(binding, "v1", "Binding"), &options)?;
        let below = (Operation::Create, "binding");
        let binding = self.admit_below(target, below, (binding, Value::Null), &options).await?;
        let node = text(&binding, "target.name").to_owned();
        let target = target.clone();
        self.store.transact(move |txn| {
            if options.dry_run {
                txn.discard();
            }
            let key = target.key();
            let mut pod = txn.get(&key)?.ok_or_else(|| target.not_found())?;
            super::update::check_uid(&target, text(&binding, "metadata.uid"), &pod)?;
            let bound = strategy::bind_pod(&mut pod, &node, Timestamp::now());
            let subject = Subject { kind: "pods/binding".into(), ..target.resource.subject(&target.name) };
            bound.map_err(|why| Status::conflict(subject, &why))?;
            txn.put(&key, pod)?;
            Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
        }).await
    }

    fn owned_binding(
        &self,
        target: &Target,
        binding: Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let kinds = self.registry.snapshot();
        let Some(resource) = kinds.find("", "v1", "bindings") else { return Ok(binding) };
        Self::unstored(&Target { resource: resource.clone(), ..target.clone() }, binding, options)
    }
}

/// An object that says what it is.
pub(super) fn typed(mut object: Value, version: &str, kind: &str) -> Value {
    for (key, value) in [("apiVersion", version), ("kind", kind)] {
        if text(&object, key).is_empty() {
            object[key] = json!(value);
        }
    }
    object
}
