//! Who stands above a pod: the controller of its controller, and whether a fixed owner still wants it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use polynic_ipam::{Controller, FixedOwner, Pod, ReadError};
use serde::Deserialize;

use super::{KubeStore, pods};
use crate::request::check_names;

const STATEFUL_SETS: &str = "/apis/apps/v1";
const MIGRATION: &str = "kubevirt.io/migrationJobName";
const KUBEVIRT: &str = "/apis/kubevirt.io/v1";

/// How many parents are remembered before they are asked for again.
const MOST_PARENTS: usize = 4096;

/// The controllers of controllers by the latter's UID. An object's controller never changes, so they are asked for once.
#[derive(Default)]
pub(super) struct Parents(Mutex<HashMap<String, Option<Controller>>>);

impl Parents {
    fn get(&self, uid: &str) -> Option<Option<Controller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    fn remember(&self, uid: &str, parent: Option<Controller>) {
        let mut parents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parents.len() >= MOST_PARENTS {
            parents.clear();
        }
        parents.insert(uid.to_owned(), parent);
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Owned {
    metadata: ObjectMeta,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StatefulSet {
    metadata: ObjectMeta,
    spec: StatefulSetSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StatefulSetSpec {
    replicas: Option<u32>,
    ordinals: Option<Ordinals>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: u32,
}

/// The controller of a ReplicaSet or Job.
pub(super) async fn controller_of(
    store: &KubeStore,
    namespace: &str,
    object: &Controller,
) -> Result<Option<Controller>, ReadError> {
    if let Some(known) = store.parents.get(&object.uid) {
        return Ok(known);
    }
    let plural = match object.kind.as_str() {
        "ReplicaSet" => "replicasets",
        "Job" => "jobs",
        _ => return Ok(None),
    };
    check_names(&[namespace]).map_err(ReadError)?;
    let path = format!("/apis/{}/namespaces/{namespace}/{plural}", object.api_version);
    let read: Option<Owned> = store.get(&path, &object.name).await?;
    let same = read.filter(|owned| owned.metadata.uid.as_deref() == Some(&object.uid));
    // One that is gone or was replaced says nothing, and is not remembered.
    let Some(owned) = same else { return Ok(None) };
    let parent = owned.metadata.owner_references.as_deref().and_then(pods::controller);
    store.parents.remember(&object.uid, parent.clone());
    Ok(parent)
}

/// Whether the StatefulSet or virtual machine of a pod still wants it (spec/spiderpool.md 9.4).
pub(super) async fn fixed_owner(store: &KubeStore, pod: &Pod) -> Result<FixedOwner, ReadError> {
    let Some(controller) = &pod.controller else { return Ok(FixedOwner::Gone) };
    check_names(&[&pod.key.namespace]).map_err(ReadError)?;
    let within = |group: &str, plural: &str| format!("{group}/namespaces/{}/{plural}", pod.key.namespace);
    if controller.kind == "StatefulSet" {
        let set: Option<StatefulSet> =
            store.get(&within(STATEFUL_SETS, "statefulsets"), &controller.name).await?;
        return Ok(set.map_or(FixedOwner::Gone, stateful_set));
    }
    let instance: Option<Owned> =
        store.get(&within(KUBEVIRT, "virtualmachineinstances"), &controller.name).await?;
    if instance.is_some_and(|instance| instance.metadata.deletion_timestamp.is_none()) {
        return Ok(FixedOwner::VirtualMachine);
    }
    // A machine that is stopped, or restarted, has no instance for a while.
    let machine: Option<Owned> = store.get(&within(KUBEVIRT, "virtualmachines"), &controller.name).await?;
    let wanted = machine.is_some_and(|machine| machine.metadata.deletion_timestamp.is_none());
    Ok(if wanted { FixedOwner::VirtualMachine } else { FixedOwner::Gone })
}

/// Whether a pod is where a virtual machine is being moved to: for a while both pods have its address, and that is no conflict (4.1).
pub(super) async fn is_migration_target(store: &KubeStore, pod: &Pod) -> Result<bool, ReadError> {
    let Some(name) = pod.annotations.get(MIGRATION) else { return Ok(false) };
    check_names(&[&pod.key.namespace]).map_err(ReadError)?;
    let path = format!("{KUBEVIRT}/namespaces/{}/virtualmachineinstancemigrations", pod.key.namespace);
    let migration: Option<Owned> = store.get(&path, name).await?;
    Ok(migration.is_some())
}

fn stateful_set(set: StatefulSet) -> FixedOwner {
    FixedOwner::StatefulSet {
        name: set.metadata.name.unwrap_or_default(),
        start: set.spec.ordinals.unwrap_or_default().start,
        replicas: set.spec.replicas.unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stateful_set_wants_its_ordinals() {
        let read = |value| stateful_set(serde_json::from_value(value).unwrap());
        let set =
            read(json!({"metadata": {"name": "db"}, "spec": {"replicas": 3, "ordinals": {"start": 2}}}));
        assert_eq!(set, FixedOwner::StatefulSet { name: "db".into(), start: 2, replicas: 3 });
        let set = read(json!({"metadata": {"name": "db"}, "spec": {}}));
        assert_eq!(set, FixedOwner::StatefulSet { name: "db".into(), start: 0, replicas: 1 });
    }

    #[test]
    fn parents_are_forgotten_before_they_fill_the_memory() {
        let parents = Parents::default();
        for n in 0..=MOST_PARENTS {
            parents.remember(&n.to_string(), None);
        }
        assert_eq!(parents.get("0"), None);
        assert_eq!(parents.get(&MOST_PARENTS.to_string()), Some(None));
    }
}
