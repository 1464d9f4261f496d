//! What other parts of the server look up: an object, its uid, what somebody is granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Api, Target};
use crate::access::{Attributes, Decision, Grants, Guard, RBAC, RoleRef, User};
use crate::json::{items, text};
use crate::status::Status;
use crate::store::Range;

impl Api {
    /// The object `target`, as it is stored.
    pub(crate) fn object(&self, target: &Target) -> Result<Value, Status> {
        let stored = self.store.get(&target.key())?.ok_or_else(|| target.not_found())?;
        serde_json::from_slice(&stored.body).map_err(Status::internal)
    }

    /// The uid of an object of a kind of the core group; `None` if it is not there.
    pub(crate) fn uid_of(&self, plural: &str, namespace: &str, name: &str) -> Result<Option<String>, Status> {
        let Some(stored) = self.store.get(&format!("core/{plural}/{namespace}/{name}"))? else {
            return Ok(None);
        };
        let object: Value = serde_json::from_slice(&stored.body).map_err(Status::internal)?;
        Ok(Some(text(&object, "metadata.uid").to_owned()))
    }

    /// Whether `user` may do what is `wanted`.
    pub(crate) fn decide(&self, user: &User, wanted: &Attributes) -> Result<Decision, Status> {
        if user.is_master() {
            return Ok(Decision { allowed: true, reason: String::new() });
        }
        Ok(self.grants(user, &wanted.namespace)?.decide(wanted))
    }

    /// What `user` is granted in `namespace`.
    pub(crate) fn grants(&self, user: &User, namespace: &str) -> Result<Grants, Status> {
        let mut bindings = self.all(&format!("{RBAC}/clusterrolebindings/"))?;
        if !namespace.is_empty() {
            bindings.extend(self.all(&format!("{RBAC}/rolebindings/{namespace}/"))?);
        }
        Grants::collect(user, &bindings, |role| self.role(role))
    }

    /// The rules of a role; `None` if it is not there.
    fn role(&self, role: &RoleRef) -> Result<Option<Vec<Value>>, Status> {
        let key = match role.kind.as_str() {
            "ClusterRole" => format!("{RBAC}/clusterroles/{}", role.name),
            _ => format!("{RBAC}/roles/{}/{}", role.namespace, role.name),
        };
        let Some(stored) = self.store.get(&key)? else { return Ok(None) };
        let object: Value = serde_json::from_slice(&stored.body).map_err(Status::internal)?;
        Ok(Some(items(&object, "rules").to_vec()))
    }

    /// Who watches over what `user` writes at `target`; nobody where that gives no rights, or where the user has all.
    pub(crate) fn guard(&self, user: &User, target: &Target) -> Result<Option<Arc<Guard>>, Status> {
        let resource = &target.resource;
        if resource.group != RBAC || user.is_master() {
            return Ok(None);
        }
        let mut roles = BTreeMap::new();
        if resource.plural.ends_with("bindings") {
            let found = self.all(&format!("{RBAC}/clusterroles/"))?;
            roles.extend(found.iter().map(|role| rules_of("ClusterRole", role)));
            let found = self.all(&format!("{RBAC}/roles/{}/", target.namespace))?;
            roles.extend(found.iter().map(|role| rules_of("Role", role)));
        }
        Ok(Some(Arc::new(Guard {
            user: user.clone(),
            plural: resource.plural.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            held: self.grants(user, &target.namespace)?,
            roles,
        })))
    }

    /// The disruption budgets of `namespace`.
    pub(super) fn budgets(&self, namespace: &str) -> Result<Vec<Value>, Status> {
        self.all(&format!("policy/poddisruptionbudgets/{namespace}/"))
    }

    fn all(&self, prefix: &str) -> Result<Vec<Value>, Status> {
        let listing = self.store.list(Range { prefix, start: "", limit: 0 })?;
        listing
            .items
            .iter()
            .map(|stored| serde_json::from_slice(&stored.body).map_err(Status::internal))
            .collect()
    }
}

fn rules_of(kind: &str, role: &Value) -> (RoleRef, Vec<Value>) {
    let own = |key: &str| text(role, key).to_owned();
    let reference =
        RoleRef { kind: kind.into(), namespace: own("metadata.namespace"), name: own("metadata.name") };
    (reference, items(role, "rules").to_vec())
}
