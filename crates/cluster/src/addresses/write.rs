//! Conditional writes of pools and endpoints. Each names the version or UID that it is based on, so one that comes late, or twice, does
//! no harm.

use std::time::Duration;

use kube::core::params::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{PartialObjectMeta, Request};
use kube::{Api, Client, Resource};
use polynic_api::spider::endpoint::Endpoint as EndpointKind;
use polynic_api::spider::{FINALIZER, pool::IPPool};
use polynic_ipam::{EndpointWrite, PoolWrite, WriteError};
use serde_json::json;
use tokio::time::timeout;

use super::{endpoints, pools};
use crate::retry::text;
use crate::spider::Stored;

/// How long the answer to one write is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a deletion starts again because the endpoint changed meanwhile.
const DELETIONS: u32 = 5;

/// Answers with the object's metadata only: a pool's status may have hundreds of kilobytes.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// Writes a pool's records if it still is at the version; answers the new version.
pub(super) async fn pool(client: &Client, write: &PoolWrite) -> Result<String, WriteError> {
    crate::request::check_names(&[&write.pool]).map_err(WriteError::Refused)?;
    let count = i64::try_from(write.records.count()).unwrap_or(i64::MAX);
    let patch = json!({
        "metadata": {"resourceVersion": write.resource_version},
        "status": {"allocatedIPs": write.records.to_text(), "allocatedIPCount": count},
    });
    let refused = |why: String| WriteError::Refused(why);
    let request = Request::new(pools::PATH);
    let request =
        request.patch_subresource("status", &write.pool, &PatchParams::default(), &Patch::Merge(patch));
    let mut request = request.map_err(|why| refused(why.to_string()))?;
    let accept = METADATA_ONLY.parse().map_err(|_| refused("no header".to_owned()))?;
    request.headers_mut().insert("accept", accept);
    let written: PartialObjectMeta<Stored<IPPool>> = answer(client.request(request)).await?;
    Ok(written.metadata.resource_version.unwrap_or_default())
}

/// Writes an endpoint.
pub(super) async fn endpoint(
    api: &Api<Stored<EndpointKind>>,
    write: &EndpointWrite,
) -> Result<(), WriteError> {
    match write {
        EndpointWrite::Create(endpoint) => {
            let object = endpoints::object(endpoint);
            answer(api.create(&PostParams::default(), &object)).await.map(drop)
        }
        EndpointWrite::Update(endpoint) => {
            let patch = json!({
                "metadata": {"resourceVersion": endpoint.resource_version},
                "status": endpoints::status(endpoint),
            });
            answer(api.patch(&endpoint.key.name, &PatchParams::default(), &Patch::Merge(patch)))
                .await
                .map(drop)
        }
        EndpointWrite::Delete { key, object_uid } => delete(api, &key.name, object_uid).await,
    }
}

/// Deletes an endpoint and lets go of it. One that is gone, or another of that name, is a success.
async fn delete(api: &Api<Stored<EndpointKind>>, name: &str, object_uid: &str) -> Result<(), WriteError> {
    for _ in 0..DELETIONS {
        let read = match answer(api.get(name)).await {
            Err(WriteError::Gone) => return Ok(()),
            read => read?,
        };
        if read.meta().uid.as_deref() != Some(object_uid) {
            return Ok(());
        }
        match delete_read(api, &read).await {
            Err(WriteError::Conflict) => {}
            Err(WriteError::Gone) => return Ok(()),
            done => return done,
        }
    }
    Err(WriteError::Conflict)
}

async fn delete_read(api: &Api<Stored<EndpointKind>>, read: &Stored<EndpointKind>) -> Result<(), WriteError> {
    let meta = read.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let mut version = meta.resource_version.clone();
    if meta.deletion_timestamp.is_none() {
        let preconditions = Preconditions { uid: meta.uid.clone(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match answer(api.delete(name, &params)).await?.left() {
            // Marked; our finalizer still holds it.
            Some(marked) => version = marked.metadata.resource_version,
            None => return Ok(()),
        }
    }
    let finalizers: Vec<&String> =
        meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    answer(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await.map(drop)
}

/// What an answer, or none, says about the outcome of a write.
async fn answer<T>(write: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match timeout(PATIENCE, write).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(outcome(&error)),
        Err(_) => Err(WriteError::Unknown(format!("no answer within {PATIENCE:?}"))),
    }
}

fn outcome(error: &kube::Error) -> WriteError {
    let kube::Error::Api(status) = error else { return WriteError::Unknown(text(error)) };
    match status.code {
        409 => WriteError::Conflict,
        404 => WriteError::Gone,
        429 | 500.. => WriteError::Unknown(status.message.clone()),
        _ => WriteError::Refused(status.message.clone()),
    }
}
