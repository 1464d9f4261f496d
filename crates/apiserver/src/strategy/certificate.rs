//! Certificate signing requests: approved through a path of their own.

use serde_json::Value;

use super::Strategy;
use crate::json::{carry, child};

/// CertificateSigningRequests.
pub(crate) struct SigningRequest;
impl Strategy for SigningRequest {
    /// Approval is about conditions alone.
    fn restrict_update_below(&self, _below: &str, new: &mut Value, old: &Value) {
        let wanted = new["status"].clone();
        let version = new["metadata"]["resourceVersion"].clone();
        *new = old.clone();
        new["metadata"]["resourceVersion"] = version;
        carry("conditions", &wanted, child(new, "status"));
    }
}
