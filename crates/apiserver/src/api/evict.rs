//! pods/eviction: a deletion that asks the disruption budgets first.

use serde_json::{Value, json};

use super::bind::typed;
use super::{Api, DeleteOptions, Target, WriteOptions};
use crate::admission::Operation;
use crate::json::{integer, text};
use crate::selector::LabelSelector;
use crate::status::{Cause, Status};

impl Api {
    /// Deletes the pod `target` if its disruption budgets let it go.
    pub async fn evict(
        &self,
        target: &Target,
        eviction: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let pod = self.object(target)?;
        let (eviction, below) = (typed(eviction, "policy/v1", "Eviction"), (Operation::Create, "eviction"));
        let eviction = self.admit_below(target, below, (eviction, Value::Null), &options).await?;
        for budget in self.budgets(&target.namespace)? {
            let covers = LabelSelector::from_object(&budget["spec"]["selector"]).matches(&pod);
            if covers && integer(&budget, "status.disruptionsAllowed").unwrap_or(0) <= 0 {
                return Err(refused(&budget));
            }
        }
        let wanted = &eviction["deleteOptions"];
        let deletion = DeleteOptions {
            grace_seconds: integer(wanted, "gracePeriodSeconds"),
            uid: text(wanted, "preconditions.uid").into(),
            resource_version: text(wanted, "preconditions.resourceVersion").into(),
            dry_run: options.dry_run,
            ..DeleteOptions::default()
        };
        self.delete_directly(target, deletion).await?;
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
    }
}

fn refused(budget: &Value) -> Status {
    let name = text(budget, "metadata.name");
    let needed = integer(budget, "status.desiredHealthy").unwrap_or(0);
    let healthy = integer(budget, "status.currentHealthy").unwrap_or(0);
    let message =
        format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently");
    let mut status = Status::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    status.causes = vec![Cause { field: String::new(), reason: "DisruptionBudget", message }];
    status
}
