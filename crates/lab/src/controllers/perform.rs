//! Doing what was decided.

use futures::StreamExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::action::{Action, Part, Target};
use crate::events;

/// Requests under way at a time: enough to share the server's fsyncs.
const AT_ONCE: usize = 16;

/// Does what the controller `name` decided. What fails is decided anew with the next snapshot; so it is only told to the log.
pub async fn all(client: &Client, name: &str, actions: Vec<Action>) {
    let mut running = futures::stream::iter(actions)
        .map(|action| async move {
            let short = format!("{action:?}");
            (one(client, name, action).await, short)
        })
        .buffered(AT_ONCE);
    while let Some((done, action)) = running.next().await {
        match done {
            Ok(()) => tracing::debug!(controller = name, %action, "done"),
            // Somebody was faster: the next snapshot shows it.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
                tracing::debug!(controller = name, %action, why = %status.message, "overtaken");
            }
            Err(why) => tracing::warn!(controller = name, %action, %why, "cannot do"),
        }
    }
}

async fn one(client: &Client, name: &str, action: Action) -> Result<(), kube::Error> {
    match action {
        Action::Create { kind, namespace, object } => {
            let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
            let api = api(client, kind, &namespace);
            api.create(&PostParams::default(), &object).await.map(drop)
        }
        Action::Patch { target, part, patch } => self::patch(client, &target, part, &patch).await,
        Action::Delete { target, grace } => delete(client, &target, grace).await,
        Action::Bind { pod, node } => bind(client, &pod, &node).await,
        Action::Tell(note) => events::write(client, &events::Event::of_controller(name, &note)).await,
    }
}

fn api(client: &Client, kind: super::action::Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = kind.resource();
    if namespace.is_empty() {
        return Api::all_with(client.clone(), &resource);
    }
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn patch(client: &Client, target: &Target, part: Part, patch: &Value) -> Result<(), kube::Error> {
    let api = api(client, target.kind, &target.namespace);
    let patch = of_version(patch, &target.version);
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    match part {
        Part::Main => api.patch(&target.name, &params, &patch).await.map(drop),
        Part::Status => api.patch_status(&target.name, &params, &patch).await.map(drop),
    }
}

/// The same patch, refused by the server if the object is not in this version any more.
fn of_version(patch: &Value, version: &str) -> Value {
    let mut patch = patch.clone();
    if !version.is_empty() {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    patch
}

async fn delete(client: &Client, target: &Target, grace: Option<u32>) -> Result<(), kube::Error> {
    let precondition = Preconditions { uid: Some(target.uid.clone()), resource_version: None };
    let mut params = DeleteParams::background().preconditions(precondition);
    params.grace_period_seconds = grace;
    api(client, target.kind, &target.namespace).delete(&target.name, &params).await.map(drop)
}

async fn bind(client: &Client, pod: &Target, node: &str) -> Result<(), kube::Error> {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "uid": pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let bound: Result<Value, _> =
        pods.create_subresource("binding", &pod.name, &PostParams::default(), &binding).await;
    bound.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_for_the_version_that_was_looked_at() {
        let patch = json!({"metadata": {"labels": {"a": "b"}}, "status": {"x": 1}});
        let expected =
            json!({"metadata": {"labels": {"a": "b"}, "resourceVersion": "7"}, "status": {"x": 1}});
        assert_eq!(of_version(&patch, "7"), expected);
        assert_eq!(of_version(&patch, ""), patch);
    }
}
