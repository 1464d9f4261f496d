//! Applications that ask for pools of their own: what all six kinds of workloads have in common, and kinds that are known by their pods alone.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use polynic_ipam::annotation;
use polynic_ipam::auto_pool::is_built_in;
use polynic_ipam::{Controller, Texts};

/// An application with an annotation about subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its namespace.
    pub namespace: String,
    /// Kind, name and UID.
    pub controller: Controller,
    /// How many pods it has at a time.
    pub replicas: u32,
    /// Annotations of its pods.
    pub annotations: Texts,
}

/// A workload, as far as it can be an application.
pub(super) trait Workload {
    /// The application; `None` for one that asks for nothing, has the node's network, or is itself run by another workload.
    fn application(&self) -> Option<Application>;
}

fn made(
    (api_version, kind): (&str, &str),
    meta: &ObjectMeta,
    template: Option<&PodTemplateSpec>,
    replicas: Option<i32>,
) -> Option<Application> {
    let template = template?;
    let annotations = template.metadata.as_ref()?.annotations.clone()?;
    let asks = [annotation::SUBNET, annotation::SUBNETS].iter().any(|key| annotations.contains_key(*key));
    let host_network = template.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    if !asks || host_network || meta.deletion_timestamp.is_some() {
        return None;
    }
    let controller = Controller {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
    };
    let replicas = replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    Some(Application {
        namespace: meta.namespace.clone()?,
        controller,
        replicas,
        annotations: annotations.into_iter().collect(),
    })
}

/// What runs a pod, where that is of a kind of somebody else's.
impl Workload for Pod {
    fn application(&self) -> Option<Application> {
        let meta = &self.metadata;
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
        let controller = Controller {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        };
        if is_built_in(&controller) {
            return None;
        }
        let template = PodTemplateSpec { metadata: Some(meta.clone()), spec: self.spec.clone() };
        let own = made(("v1", "Pod"), meta, Some(&template), None)?;
        Some(Application { controller, ..own })
    }
}

fn is_run_by(meta: &ObjectMeta, kind: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.kind == kind)
}

/// Completions, or else what runs in parallel; at least one.
fn job_size(spec: Option<&JobSpec>) -> Option<i32> {
    let spec = spec?;
    Some(spec.completions.or(spec.parallelism).unwrap_or(1).max(1))
}

impl Workload for Deployment {
    fn application(&self) -> Option<Application> {
        let spec = self.spec.as_ref()?;
        made(
            ("apps/v1", "Deployment"),
            &self.metadata,
            Some(&spec.template),
            Some(spec.replicas.unwrap_or(1)),
        )
    }
}

impl Workload for ReplicaSet {
    fn application(&self) -> Option<Application> {
        let spec = self.spec.as_ref().filter(|_| !is_run_by(&self.metadata, "Deployment"))?;
        made(
            ("apps/v1", "ReplicaSet"),
            &self.metadata,
            spec.template.as_ref(),
            Some(spec.replicas.unwrap_or(1)),
        )
    }
}

impl Workload for StatefulSet {
    fn application(&self) -> Option<Application> {
        let spec = self.spec.as_ref()?;
        made(
            ("apps/v1", "StatefulSet"),
            &self.metadata,
            Some(&spec.template),
            Some(spec.replicas.unwrap_or(1)),
        )
    }
}

impl Workload for DaemonSet {
    fn application(&self) -> Option<Application> {
        let spec = self.spec.as_ref()?;
        let wanted = self.status.as_ref().map(|status| status.desired_number_scheduled);
        made(("apps/v1", "DaemonSet"), &self.metadata, Some(&spec.template), wanted)
    }
}

impl Workload for Job {
    fn application(&self) -> Option<Application> {
        let spec = self.spec.as_ref().filter(|_| !is_run_by(&self.metadata, "CronJob"))?;
        made(("batch/v1", "Job"), &self.metadata, Some(&spec.template), job_size(Some(spec)))
    }
}

impl Workload for CronJob {
    fn application(&self) -> Option<Application> {
        let job = self.spec.as_ref()?.job_template.spec.as_ref()?;
        made(("batch/v1", "CronJob"), &self.metadata, Some(&job.template), job_size(Some(job)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of<W: Workload + serde::de::DeserializeOwned>(spec: Value, more: Value) -> Option<Application> {
        let mut object = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec});
        object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<W>(object).unwrap().application()
    }

    fn template() -> Value {
        json!({"metadata": {"annotations": {"ipam.spidernet.io/subnet": "{}"}}, "spec": {"containers": []}})
    }

    #[test]
    fn replicas_are_counted_by_kind() {
        let selector = json!({});
        let set = of::<StatefulSet>(
            json!({"replicas": 3, "serviceName": "s", "selector": selector, "template": template()}),
            json!({}),
        );
        assert_eq!(set.unwrap().replicas, 3);
        let deployment =
            of::<Deployment>(json!({"selector": selector, "template": template()}), json!({})).unwrap();
        assert_eq!((deployment.replicas, deployment.controller.kind.as_str()), (1, "Deployment"));
        let job = |spec: Value| of::<Job>(spec, json!({})).unwrap().replicas;
        assert_eq!(job(json!({"template": template(), "completions": 5, "parallelism": 2})), 5);
        assert_eq!(job(json!({"template": template(), "parallelism": 2})), 2);
        assert_eq!(job(json!({"template": template(), "parallelism": 0})), 1);
        let cron = json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template()}}});
        assert_eq!(of::<CronJob>(cron, json!({})).unwrap().replicas, 1);
    }

    #[test]
    fn what_asks_for_nothing_or_is_run_by_another_is_no_application() {
        let owned = json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "x", "controller": true}]});
        let spec = json!({"selector": {}, "template": template()});
        assert!(of::<ReplicaSet>(spec.clone(), owned).is_none());
        assert!(of::<ReplicaSet>(spec.clone(), json!({})).is_some());
        let mut host = spec.clone();
        host["template"]["spec"]["hostNetwork"] = json!(true);
        assert!(of::<Deployment>(host, json!({})).is_none());
        let mut silent = spec;
        silent["template"]["metadata"] = json!({});
        assert!(of::<Deployment>(silent, json!({})).is_none());
    }

    #[test]
    fn what_runs_a_pod_is_known_by_it_if_by_nothing_else() {
        let pod = |api_version: &str, kind: &str, annotation: &str| {
            let owner =
                json!({"apiVersion": api_version, "kind": kind, "name": "c", "uid": "x", "controller": true});
            let more = json!({"annotations": {annotation: "{}"}, "ownerReferences": [owner]});
            of::<Pod>(json!({"containers": []}), more)
        };
        let subnet = "ipam.spidernet.io/subnet";
        let found = pod("apps.kruise.io/v1alpha1", "CloneSet", subnet).unwrap();
        assert_eq!((found.controller.kind.as_str(), found.controller.uid.as_str()), ("CloneSet", "x"));
        assert!(pod("apps.kruise.io/v1alpha1", "CloneSet", "other").is_none());
        assert!(pod("apps/v1", "ReplicaSet", subnet).is_none() && pod("batch/v1", "Job", subnet).is_none());
        assert!(pod("apps.kruise.io/v1beta1", "StatefulSet", subnet).is_some());
    }
}
