//! What other parts of the server look up: an object, its uid, the RBAC objects of a namespace.

use serde_json::Value;

use super::{Api, Target};
use crate::access::Grants;
use crate::json::text;
use crate::status::Status;
use crate::store::Range;

const RBAC: &str = "rbac.authorization.k8s.io";

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

    /// The RBAC objects that matter in `namespace`.
    pub(crate) fn grants(&self, namespace: &str) -> Result<Grants, Status> {
        let own = |plural: &str| {
            if namespace.is_empty() {
                Ok(Vec::new())
            } else {
                self.all(&format!("{RBAC}/{plural}/{namespace}/"))
            }
        };
        Ok(Grants {
            cluster_roles: self.all(&format!("{RBAC}/clusterroles/"))?,
            cluster_bindings: self.all(&format!("{RBAC}/clusterrolebindings/"))?,
            roles: own("roles")?,
            bindings: own("rolebindings")?,
        })
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
