//! Applying manifests: each object is created, or changed to what the file says.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;

use crate::api;
use crate::error::{Error, Result};
use crate::ui::Ui;

/// All objects of a YAML (or JSON) text with any number of documents; empty ones and lists are resolved.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in documents(text) {
        let value: Value =
            serde_saphyr::from_str(&document).map_err(|why| Error::Input(format!("not YAML: {why}")))?;
        flatten(value, &mut objects)?;
    }
    Ok(objects)
}

/// Splits at lines that begin with `---`.
fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let has_content = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    all.into_iter().filter(has_content).collect()
}

fn flatten(value: Value, objects: &mut Vec<Value>) -> Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Object(mut map)
            if map.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List")) =>
        {
            let items = map.remove("items").unwrap_or_default();
            let items = Vec::<Value>::deserialize(items)
                .map_err(|why| Error::Input(format!("a list's items: {why}")))?;
            items.into_iter().try_for_each(|item| flatten(item, objects))
        }
        Value::Object(map) => {
            objects.push(Value::Object(map));
            Ok(())
        }
        other => Err(Error::Input(format!("not a Kubernetes object: {other}"))),
    }
}

/// `apply -f`: says for each object what was done.
pub fn apply_files(kubeconfig: &Path, files: &[PathBuf], namespace: &str) -> Result<ExitCode> {
    let mut objects = Vec::new();
    for file in files {
        objects.extend(parse(&read(file)?)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(async {
        let client = api::client(kubeconfig).await?;
        for object in &objects {
            let done = apply(&client, object, namespace).await?;
            Ui::new().line(&done);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn read(file: &Path) -> Result<String> {
    let what = || format!("read {}", file.display());
    if file != Path::new("-") {
        return std::fs::read_to_string(file).map_err(Error::io(what()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(Error::io(what()))?;
    Ok(text)
}

/// Creates an object, or changes the one that is there. Says what was done, as in `pod/samplepod created`.
pub async fn apply(client: &Client, object: &Value, namespace: &str) -> Result<String> {
    let parsed: DynamicObject = serde_json::from_value(object.clone())
        .map_err(|why| Error::Input(format!("not a Kubernetes object: {why}")))?;
    let name = parsed.metadata.name.clone().unwrap_or_default();
    let (api, kind) = api_for(client, &parsed, namespace).await?;
    let label = format!("{}/{name}", kind.to_lowercase());
    match api.create(&PostParams::default(), &parsed).await {
        Ok(_) => Ok(format!("{label} created")),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = api.patch(&name, &PatchParams::default(), &Patch::Merge(object)).await;
            patch.map(|_| format!("{label} configured")).map_err(Error::api(format!("change {label}")))
        }
        Err(why) => Err(Error::api(format!("create {label}"))(why)),
    }
}

/// Where objects of this kind live.
async fn api_for(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
) -> Result<(Api<DynamicObject>, String)> {
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|why| Error::Input(format!("apiVersion: {why}")))?;
    let (resource, scope) = look_up(client, &gvk).await?;
    Ok((scoped(client, &resource, &scope, object, namespace), gvk.kind))
}

/// How a kind is served. A CRD that was created a moment ago may take another to be.
pub async fn look_up(client: &Client, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
    let mut backoff = crate::backoff::Backoff::of_requests();
    let mut attempts = 0;
    loop {
        match discovery::oneshot::pinned_kind(client, gvk).await {
            Ok((resource, capabilities)) => return Ok((resource, capabilities.scope)),
            Err(why) if attempts == 4 => return Err(Error::api(format!("look up kind {}", gvk.kind))(why)),
            Err(_) => tokio::time::sleep(backoff.wait()).await,
        }
        attempts += 1;
    }
}

fn scoped(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
    object: &DynamicObject,
    namespace: &str,
) -> Api<DynamicObject> {
    let own = object.metadata.namespace.as_deref().unwrap_or(namespace);
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), own, resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let objects = parse(text).unwrap();
        objects.iter().map(|o| o["metadata"]["name"].as_str().unwrap_or("?").to_owned()).collect()
    }

    #[test]
    fn the_quickstart_has_three_objects_and_its_config_is_json() {
        let text = include_str!("../../../scenarios/multus-quickstart/manifests.yaml");
        assert_eq!(names(text), ["macvlan-conf", "samplepod", "samplepod-two"]);
        let config = parse(text).unwrap()[0]["spec"]["config"].as_str().unwrap().to_owned();
        assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["type"], "macvlan");
    }

    #[test]
    fn every_story_can_be_read() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        for story in std::fs::read_dir(root).unwrap().flatten().filter(|e| e.path().is_dir()) {
            let file = story.path().join("manifests.yaml");
            let objects = parse(&std::fs::read_to_string(&file).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert!(objects.iter().all(|o| o["kind"].is_string()), "{}", file.display());
        }
    }

    #[test]
    fn lists_are_opened_and_empty_documents_skipped() {
        let text = "---\n# nothing\n---\nkind: List\nitems:\n- {kind: Pod, metadata: {name: a}}\n--- \nkind: Pod\nmetadata: {name: b}\n";
        assert_eq!(names(text), ["a", "b"]);
        assert_eq!(parse("{\"kind\": \"Pod\"}").unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for bad in ["just text", "- a\n- b", "a: [", "kind: List\nitems: 5"] {
            assert!(matches!(parse(bad), Err(Error::Input(_))), "{bad}");
        }
    }
}
