//! Keeping the status of the one SpiderCoordinator that counts, and letting go of those that are deleted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _};
use polynic_api::spider::coordinator::{Coordinator, phase};
use polynic_api::spider::{CoordinatorStatus, FINALIZER};
use polynic_cluster::spider::{self, Stored};
use serde_json::{Value, json};

use super::decide::{Decision, PodCidrType, decide};
use super::observe::{CoordinatorSettings, observe};
use crate::events::{Events, Severity};
use crate::reconcile::{self, Pace, ReconcileError};

/// Keeps the status until the future is dropped.
pub async fn run(client: Client, events: Events, settings: CoordinatorSettings, pace: Pace) {
    let coordinators = spider::all::<Coordinator>(client.clone());
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let target = settings.name.clone();
    let other = settings.name.clone();
    let controller = Controller::new(coordinators, watcher::Config::default())
        .watches(maps.clone(), named("kubeadm-config"), move |_| Some(ObjectRef::new(&target)))
        .watches(maps, named(&settings.cilium.1), move |_| Some(ObjectRef::new(&other)));
    let keeper = Arc::new(Keeper { client, events, settings, last: Mutex::default() });
    reconcile::run("coordinator", controller, pace, move |coordinator| {
        let keeper = keeper.clone();
        async move { keeper.keep(coordinator).await }
    })
    .await;
}

struct Keeper {
    client: Client,
    events: Events,
    settings: CoordinatorSettings,
    /// The type that was used last, to tell users of a change.
    last: Mutex<Option<PodCidrType>>,
}

impl Keeper {
    async fn keep(&self, coordinator: Arc<Stored<Coordinator>>) -> Result<Option<Duration>, ReconcileError> {
        let name = coordinator.metadata.name.clone().unwrap_or_default();
        let api = spider::all::<Coordinator>(self.client.clone());
        let step = |verb: &str| format!("{verb} SpiderCoordinator {name}");
        if coordinator.metadata.deletion_timestamp.is_some() {
            let Some(patch) = without_finalizer(&coordinator) else { return Ok(None) };
            let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
            patched.map_err(ReconcileError::during(step("letting go of")))?;
            return Ok(None);
        }
        if name != self.settings.name {
            return Ok(None);
        }
        let sources = observe(&self.client, &self.settings, &coordinator.spec).await;
        let sources = sources.map_err(ReconcileError::during("reading the cluster's CIDRs"))?;
        let decision = decide(&coordinator.spec, &sources);
        let old = coordinator.status.clone().unwrap_or_default();
        self.tell(&coordinator, &old, &decision).await;
        if decision.status != old || coordinator.status.is_none() {
            let patch = Patch::Merge(status_patch(&decision.status));
            let patched = api.patch_status(&name, &PatchParams::default(), &patch).await;
            patched.map_err(ReconcileError::during(step("writing the status of")))?;
        }
        let is_settled = matches!(decision.used, Some(PodCidrType::Cluster | PodCidrType::None))
            && decision.status.phase == phase::SYNCED;
        Ok((!is_settled).then_some(self.settings.period))
    }

    async fn tell(&self, coordinator: &Stored<Coordinator>, old: &CoordinatorStatus, decision: &Decision) {
        let about = coordinator.object_ref(&());
        if let Some((reason, why)) =
            decision.trouble.as_ref().filter(|(_, why)| old.reason.as_ref() != Some(why))
        {
            self.events.tell(&about, Severity::Warning, reason, why).await;
        }
        let Some(used) = decision.used else { return };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(used);
        if let Some(last) = last.filter(|last| *last != used) {
            let note = format!("podCIDRType was {} and is {}", last.text(), used.text());
            self.events.tell(&about, Severity::Normal, "PodCIDRTypeChanged", &note).await;
        }
    }
}

/// A merge patch that takes our finalizer away; `None` if it is not there.
fn without_finalizer(coordinator: &Stored<Coordinator>) -> Option<Value> {
    let finalizers = coordinator.metadata.finalizers.as_ref()?;
    let rest: Vec<&String> = finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    let version = &coordinator.metadata.resource_version;
    (rest.len() != finalizers.len())
        .then(|| json!({"metadata": {"resourceVersion": version, "finalizers": rest}}))
}

/// The whole status; lists are written even if they are empty, so that old ones go.
fn status_patch(status: &CoordinatorStatus) -> Value {
    json!({"status": {
        "phase": status.phase, "reason": status.reason,
        "overlayPodCIDR": status.overlay_pod_cidr, "serviceCIDR": status.service_cidr,
    }})
}
