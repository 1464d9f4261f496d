//! The namespaces that exist from the start.

use serde_json::json;

use super::{Api, Target, WriteOptions};
use crate::status::Status;

const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Api {
    pub(super) async fn seed(&self) -> Result<(), Status> {
        let kinds = self.registry.snapshot();
        let Some(resource) = kinds.find("", "v1", "namespaces") else { return Ok(()) };
        for name in NAMESPACES {
            let target = Target { resource: resource.clone(), namespace: String::new(), name: name.into() };
            let object = json!({"metadata": {"name": name}});
            match self.create(&target, object, WriteOptions::default()).await {
                Err(status) if status.reason != "AlreadyExists" => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }
}
