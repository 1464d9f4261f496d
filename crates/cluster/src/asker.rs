//! The questions of an attachment as requests, for whoever has a client: a thin `multus` for one call, the node agent for all.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use polynic_api::{NetworkAttachmentDefinition, PodEvent};
use polynic_attach::{NadError, NadRef, PodInfo, PodRef, StatusError};
use serde_json::Value;
use tokio::time::sleep;

use crate::objects;
use crate::pod_event;
use crate::request;
use crate::retry::{Limits, Problem, ask};

/// Tries to write a pod that others write as well, and the pause before the second.
const WRITES: u32 = 5;
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// Asks an API server, again if that may help.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) client: Client,
    /// For what an ADD cannot go on without.
    pub(crate) patient: Limits,
}

impl Asker {
    /// Reads a pod.
    pub(crate) async fn pod(&self, pod: &PodRef, limits: Limits) -> Result<PodInfo, Problem> {
        request::check_names(&[&pod.namespace, &pod.name]).map_err(Problem::Other)?;
        let object = ask(limits, || get(&self.client, request::pods(&pod.namespace), &pod.name)).await?;
        objects::pod_info(&object).map_err(|why| Problem::Other(why.to_string()))
    }

    /// Reads which network a pod is on.
    pub(crate) async fn is_on_host_network(&self, pod: &PodRef, limits: Limits) -> Option<bool> {
        request::check_names(&[&pod.namespace, &pod.name]).ok()?;
        let object =
            ask(limits, || get(&self.client, request::pods(&pod.namespace), &pod.name)).await.ok()?;
        let is_same = objects::pod_info(&object).ok()?.is(pod);
        is_same.then(|| object["spec"]["hostNetwork"].as_bool().unwrap_or_default())
    }

    /// Reads a NAD.
    pub(crate) async fn nad(&self, nad: &NadRef) -> Result<NetworkAttachmentDefinition, NadError> {
        request::check_names(&[&nad.namespace, &nad.name]).map_err(NadError::Other)?;
        let answer = ask(self.patient, || get(&self.client, request::nads(&nad.namespace), &nad.name)).await;
        let object = answer.map_err(nad_error)?;
        NetworkAttachmentDefinition::parse(object.to_string().as_bytes())
            .map_err(|why| NadError::Other(why.to_string()))
    }

    /// Reads a whole pod, for [`Asker::annotate_read`].
    pub(crate) async fn whole_pod(&self, pod: &PodRef) -> Result<Value, Problem> {
        request::check_names(&[&pod.namespace, &pod.name]).map_err(Problem::Other)?;
        ask(self.patient, || get(&self.client, request::pods(&pod.namespace), &pod.name)).await
    }

    /// As [`Asker::annotate`], for a pod that was read a moment ago. If it has changed since, it is read again.
    pub(crate) async fn annotate_read(
        &self,
        pod: &PodRef,
        read: Value,
        annotations: &[(&str, &str)],
    ) -> Result<(), StatusError> {
        match self.write_annotated(pod, read, annotations).await? {
            Ok(()) => Ok(()),
            Err(Problem::Conflict(_)) => self.annotate(pod, annotations).await,
            Err(problem) => Err(status_error(pod, problem)),
        }
    }

    /// Writes annotations through a pod's status, unless it is another pod by now.
    pub(crate) async fn annotate(
        &self,
        pod: &PodRef,
        annotations: &[(&str, &str)],
    ) -> Result<(), StatusError> {
        let failed = |problem| status_error(pod, problem);
        let mut pause = WRITE_PAUSE;
        for _ in 1..WRITES {
            match self.annotate_once(pod, annotations).await? {
                Ok(()) => return Ok(()),
                Err(Problem::Conflict(_)) => sleep(pause).await,
                Err(problem) => return Err(failed(problem)),
            }
            pause *= 2;
        }
        self.annotate_once(pod, annotations).await?.map_err(failed)
    }

    /// The outer error is final; the inner one may be a conflict.
    async fn annotate_once(
        &self,
        pod: &PodRef,
        annotations: &[(&str, &str)],
    ) -> Result<Result<(), Problem>, StatusError> {
        match self.whole_pod(pod).await {
            Ok(object) => self.write_annotated(pod, object, annotations).await,
            Err(problem) => Ok(Err(problem)),
        }
    }

    async fn write_annotated(
        &self,
        pod: &PodRef,
        mut object: Value,
        annotations: &[(&str, &str)],
    ) -> Result<Result<(), Problem>, StatusError> {
        let path = || request::pods(&pod.namespace);
        let info = objects::pod_info(&object).map_err(|why| StatusError::Other(why.to_string()))?;
        if !info.is(pod) {
            let name = format!("{}/{}", pod.namespace, pod.name);
            return Err(StatusError::OtherPod { name, expected: pod.uid.clone(), found: info.uid });
        }
        objects::annotate(&mut object, annotations);
        let body = object.to_string().into_bytes();
        Ok(ask(self.patient, || put_status(&self.client, path(), &pod.name, body.clone())).await)
    }

    /// Posts an Event once; whether it arrives is nobody's concern.
    pub(crate) async fn event(&self, pod: &PodRef, event: &PodEvent) {
        if request::check_names(&[&pod.namespace, &pod.name]).is_err() {
            return;
        }
        let object = pod_event::object(pod, event, Timestamp::now());
        let request = Request::new(request::events(&pod.namespace));
        if let Ok(request) = request.create(&PostParams::default(), object.to_string().into_bytes()) {
            let _ = self.client.request_text(request).await;
        }
    }
}

async fn get(client: &Client, path: String, name: &str) -> Result<Value, kube::Error> {
    let request = Request::new(path).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}

async fn put_status(client: &Client, path: String, name: &str, body: Vec<u8>) -> Result<(), kube::Error> {
    let request = Request::new(path)
        .replace_subresource("status", name, &PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}

pub(crate) fn nad_error(problem: Problem) -> NadError {
    match problem {
        Problem::NotFound(text) => NadError::NotFound(text),
        Problem::Conflict(text) | Problem::Other(text) => NadError::Other(text),
    }
}

pub(crate) fn status_error(pod: &PodRef, problem: Problem) -> StatusError {
    match problem {
        Problem::NotFound(_) => StatusError::NotFound(pod.name.clone()),
        Problem::Conflict(text) | Problem::Other(text) => StatusError::Other(text),
    }
}
