//! Volumes and claims on them: protected from going while they are used, and pending at first.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, moment};
use crate::json::{child, items};

/// PersistentVolumeClaims.
pub(crate) struct Claim;
impl Strategy for Claim {
    fn begin(&self, object: &mut Value, _has_status: bool, _now: Timestamp) {
        object["status"] = json!({"phase": "Pending"});
        protect(object, "kubernetes.io/pvc-protection");
    }

    fn answers_with_object(&self) -> bool {
        true
    }
}

/// PersistentVolumes.
pub(crate) struct Volume;
impl Strategy for Volume {
    fn begin(&self, object: &mut Value, _has_status: bool, now: Timestamp) {
        object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": moment(now)});
        protect(object, "kubernetes.io/pv-protection");
    }

    fn answers_with_object(&self) -> bool {
        true
    }
}

/// What the admission plugin StorageObjectInUseProtection does.
fn protect(object: &mut Value, finalizer: &str) {
    if items(object, "metadata.finalizers").iter().any(|f| f == finalizer) {
        return;
    }
    let mut finalizers = items(object, "metadata.finalizers").to_vec();
    finalizers.push(json!(finalizer));
    child(object, "metadata")["finalizers"] = json!(finalizers);
}
