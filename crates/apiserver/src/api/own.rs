//! From a write to its bookkeeping: who writes, in which form, and what that makes of an object's owners.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::update::Part;
use super::{Target, WriteOptions};
use crate::access::{Denial, Guard};
use crate::decode;
use crate::json::text;
use crate::meta;
use crate::ownership::{self, ApplyError, Set, Shape, Write};
use crate::resource::{Conversion, Resource};
use crate::status::{Cause, Status};
use crate::strategy::moment;

/// Who writes an object, through which sub-resource.
pub(super) struct Owner {
    resource: Arc<Resource>,
    manager: String,
    subresource: &'static str,
    reset: Set,
    guard: Option<Arc<Guard>>,
}

impl Owner {
    pub(super) fn new(target: &Target, part: Part, options: &WriteOptions) -> Self {
        Self {
            resource: target.resource.clone(),
            manager: options.manager.clone(),
            subresource: part.subresource(),
            reset: reset(&target.resource, part),
            guard: options.guard.clone(),
        }
    }

    /// `new` with its defaults and its owners, after it takes the place of `live`; both as clients see them.
    pub(super) fn updated(&self, live: &Value, mut new: Value) -> Result<Value, Status> {
        meta::check_shape(&self.resource, &mut new)?;
        self.default(&mut new);
        let new = self.written(|write| ownership::update(live, new, write));
        self.check_rights(live, &new)?;
        Ok(new)
    }

    /// `live` after `config` was applied to it; an object without a uid for one that is not there.
    pub(super) fn applied(&self, live: &Value, config: &Value, force: bool) -> Result<Value, Status> {
        self.check_applied(config)?;
        let applied = self.written(|write| ownership::apply(live, config, force, write));
        let mut object = applied.map_err(|error| self.refused(config, error))?;
        if !self.resource.custom {
            drop_nulls(&mut object);
        }
        // To the real server what does not fit its type after an apply is a fault of its own.
        let decoded = decode::value(&self.resource, &object);
        let mut object = decoded.map_err(|status| Status::new(500, "", status.message))?.object;
        meta::check_shape(&self.resource, &mut object)?;
        self.default(&mut object);
        self.check_rights(live, &object)?;
        Ok(object)
    }

    /// Refuses to give rights that the writer has not.
    fn check_rights(&self, live: &Value, new: &Value) -> Result<(), Status> {
        let Some(guard) = &self.guard else { return Ok(()) };
        guard.check(live, new).map_err(|denial| match denial {
            Denial::Forbidden(why) => {
                Status::forbidden(self.resource.subject(text(new, "metadata.name")), &why)
            }
            Denial::NoSuchRole(name) => Status::not_found(self.resource.subject(&name)),
        })
    }

    fn written<T>(&self, act: impl FnOnce(&Write<'_>) -> T) -> T {
        let (version, now) = (self.resource.api_version(), moment(Timestamp::now()));
        act(&Write {
            manager: &self.manager,
            version: &version,
            subresource: self.subresource,
            now: now.as_str().unwrap_or_default(),
            shape: Shape::of(self.resource.model()),
            zero: &nothing(&self.resource),
            reset: &self.reset,
        })
    }

    /// Events are defaulted in the form in which they are stored.
    fn default(&self, object: &mut Value) {
        if self.resource.conversion != Conversion::Events {
            self.resource.fill_in(object);
        }
    }

    fn check_applied(&self, config: &Value) -> Result<(), Status> {
        let (version, kind) = (text(config, "apiVersion"), text(config, "kind"));
        if version != self.resource.api_version() || kind != self.resource.kind {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let message = format!("invalid object type: {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(message));
        }
        if config["metadata"].get("managedFields").is_some_and(|entries| !entries.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }

    fn refused(&self, config: &Value, error: ApplyError) -> Status {
        match error {
            ApplyError::Conflicts(conflicts) => {
                let cause = |conflict: &ownership::Conflict| Cause {
                    field: conflict.field(),
                    reason: "FieldManagerConflict",
                    message: format!("conflict with {}", conflict.with()),
                };
                let causes = conflicts.iter().map(cause).collect();
                Status { causes, ..Status::new(409, "Conflict", ownership::sentence(&conflicts)) }
            }
            ApplyError::Untyped(why) => {
                let (namespace, name) = (text(config, "metadata.namespace"), text(config, "metadata.name"));
                let (group, version) = (&self.resource.group, &self.resource.version);
                let kind = &self.resource.kind;
                let message = format!(
                    "failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={kind}): {why}"
                );
                Status::new(500, "", message)
            }
        }
    }
}

/// Null and absent are the same for built-in kinds.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What a write through `part` puts back, so that nobody owns it by such a write (`GetResetFields` of the real server's
/// strategies).
fn reset(resource: &Resource, part: Part) -> Set {
    match part {
        Part::Main if resource.plural == "certificatesigningrequests" => Set::of(&["spec", "status"]),
        Part::Main if resource.status => Set::of(&["status"]),
        Part::Main | Part::Below(_) => Set::default(),
        Part::Status => match (resource.group.as_str(), resource.plural.as_str()) {
            ("", "pods") => Set::of(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"]),
            ("apps", "deployments") => Set::of(&["spec", "metadata.labels"]),
            ("apiextensions.k8s.io", _) => Set::of(&["metadata", "spec"]),
            _ => Set::of(&["spec"]),
        },
    }
}

/// Where there is nothing yet.
pub(super) fn nothing(resource: &Resource) -> Value {
    decode::zero(resource)
}

/// Objects of these kinds are made by a replace if they are not there.
pub(super) fn may_be_created_by_update(resource: &Resource) -> bool {
    let kinds = [
        ("", "endpoints"),
        ("", "events"),
        ("", "limitranges"),
        ("", "services"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("node.k8s.io", "runtimeclasses"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
    ];
    kinds.contains(&(resource.group.as_str(), resource.plural.as_str()))
}
