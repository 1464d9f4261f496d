//! Uninstalling (spec/spiderpool.md 13.6): everything of Spiderpool goes. Best effort: what fails is told, and the rest goes on.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::endpoint::Endpoint;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{GROUP, SpiderKind};
use polynic_cluster::spider::{self, Stored};
use serde_json::json;
use tokio::time::sleep;

use crate::webhook::registration;
use crate::webhook::review::Step;

/// What is to be removed besides Spiderpool's own objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The MutatingWebhookConfiguration.
    pub mutating: String,
    /// The ValidatingWebhookConfiguration.
    pub validating: String,
    /// Namespace and name of the Job that made the default objects.
    pub init_job: (String, String),
}

/// Configurations that the bundled SR-IOV operator leaves behind.
const OTHERS: [&str; 2] = ["sriov-operator-webhook-config", "network-resources-injector-config"];

/// How often, and with which pauses, it is looked whether definitions are gone.
const LOOKS: u32 = 150;
const PAUSE: Duration = Duration::from_millis(200);

/// Removes everything; answers what could not be removed.
pub async fn clean(client: &Client, names: &Names) -> Vec<String> {
    let mut problems = Vec::new();
    // The webhooks go first: they would refuse what follows, or not answer any more.
    remove_webhooks(client, names, &mut problems).await;
    remove_all::<MultusConfig>(client, &mut problems).await;
    remove_all::<Endpoint>(client, &mut problems).await;
    remove_all::<IPPool>(client, &mut problems).await;
    remove_all::<Subnet>(client, &mut problems).await;
    remove_all::<ReservedIP>(client, &mut problems).await;
    remove_all::<Coordinator>(client, &mut problems).await;
    note(&mut problems, remove_definitions(client).await);
    // The controller may still run, and has then made them anew as long as there were our kinds.
    remove_webhooks(client, names, &mut problems).await;
    note(&mut problems, remove_job(client, &names.init_job).await);
    problems
}

async fn remove_webhooks(client: &Client, names: &Names, problems: &mut Vec<String>) {
    for (step, own) in [(Step::Mutate, &names.mutating), (Step::Validate, &names.validating)] {
        for name in std::iter::once(own.as_str()).chain(OTHERS) {
            let removed = registration::remove(client, step, name).await;
            note(problems, removed.map_err(|why| format!("{name}: {why}")));
        }
    }
}

fn note(problems: &mut Vec<String>, outcome: Result<(), String>) {
    if let Err(why) = outcome {
        tracing::warn!(why, "something stays behind");
        problems.push(why);
    }
}

async fn remove_all<K: SpiderKind>(client: &Client, problems: &mut Vec<String>) {
    let objects = match spider::all::<K>(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) if is_gone(&error) => return,
        Err(error) => return note(problems, Err(format!("listing {}: {error}", K::PLURAL))),
    };
    for object in objects {
        let name = object.metadata.name.clone().unwrap_or_default();
        let removed = remove::<K>(client, &object).await;
        note(problems, removed.map_err(|why| format!("{} {name}: {why}", K::KIND)));
    }
}

/// Deletes an object and takes its finalizers away.
async fn remove<K: SpiderKind>(client: &Client, object: &Stored<K>) -> Result<(), kube::Error> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let api: Api<Stored<K>> = match object.metadata.namespace.as_deref() {
        Some(namespace) => spider::namespaced(client.clone(), namespace),
        None => spider::all(client.clone()),
    };
    unless_gone(api.delete(&name, &DeleteParams::background()).await.map(drop))?;
    if object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    unless_gone(api.patch(&name, &PatchParams::default(), &patch).await.map(drop))
}

/// Until they are gone: as long as a kind is still served, a controller that runs takes Spiderpool for installed.
async fn remove_definitions(client: &Client) -> Result<(), String> {
    let api: Api<DynamicObject> =
        Api::all_with(client.clone(), &resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    for name in definitions(&api).await? {
        let deleted = api.delete(&name, &DeleteParams::default()).await.map(drop);
        unless_gone(deleted).map_err(|why| format!("definition {name}: {why}"))?;
    }
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = definitions(&api).await?;
        left.retain(|name| name.ends_with(&format!(".{GROUP}")));
        if left.is_empty() {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    Err(format!("definitions that do not end: {}", left.join(", ")))
}

async fn definitions(api: &Api<DynamicObject>) -> Result<Vec<String>, String> {
    let all = api.list(&ListParams::default()).await.map_err(|why| format!("listing definitions: {why}"))?;
    let names = all.into_iter().filter_map(|definition| definition.metadata.name);
    let is_ours = |name: &String| {
        let ours = name.ends_with(&format!(".{GROUP}")) || name.ends_with(".sriovnetwork.openshift.io");
        ours && !name.starts_with("sriovoperatorconfigs.")
    };
    Ok(names.filter(is_ours).collect())
}

async fn remove_job(client: &Client, (namespace, name): &(String, String)) -> Result<(), String> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("batch", "v1", "Job"));
    let deleted = api.delete(name, &DeleteParams::background()).await.map(drop);
    unless_gone(deleted).map_err(|why| format!("Job {namespace}/{name}: {why}"))
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_ascii_lowercase()),
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn unless_gone(done: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match done {
        Err(error) if is_gone(&error) => Ok(()),
        done => done,
    }
}
