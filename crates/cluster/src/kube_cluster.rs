//! The questions of an attachment, asked of an API server.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use kube::{Client, Config};
use polynic_api::{NetworkAttachmentDefinition, PodEvent};
use polynic_attach::{
    Cluster, DeviceError, Devices, NadError, NadRef, Patience, PodError, PodInfo, PodRef, StatusError,
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::connect::{self, ConnectError};
use crate::devices::{self, Kubelet};
use crate::objects;
use crate::pod_event;
use crate::request;
use crate::retry::{Limits, Problem, ask};

/// Tries to write a pod that others write as well, and the pause before the second.
const WRITES: u32 = 5;
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// How long a process stays for its Events.
const FLUSH: Duration = Duration::from_secs(2);

/// An API server for the time of one call.
pub struct KubeCluster {
    config: Config,
    patient: Limits,
    brief: Limits,
    kubelet: Kubelet,
    runtime: Runtime,
    client: OnceCell<Client>,
    events: RefCell<Vec<JoinHandle<()>>>,
    /// The UID of the pod that was read last: that of a static pod is another than the container runtime's.
    uid: RefCell<String>,
}

impl KubeCluster {
    /// Chooses the server as [`crate::client_from`] does; an empty path is none. Nothing is sent yet.
    pub fn select(kubeconfig: &str) -> Result<Option<KubeCluster>, ConnectError> {
        let path = Some(Path::new(kubeconfig)).filter(|_| !kubeconfig.is_empty());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ConnectError::Runtime)?;
        let config = runtime.block_on(connect::config_from(path))?;
        Ok(config.map(|config| KubeCluster {
            config,
            patient: Limits::PATIENT,
            brief: Limits::BRIEF,
            kubelet: Kubelet::default(),
            runtime,
            client: OnceCell::new(),
            events: RefCell::default(),
            uid: RefCell::default(),
        }))
    }

    /// The same with other bounds: `patient` for what an ADD needs, `brief` for what a DEL can do without.
    pub fn with_limits(self, patient: Limits, brief: Limits) -> KubeCluster {
        KubeCluster { patient, brief, ..self }
    }

    /// The same with kubelet's files elsewhere.
    pub fn with_kubelet(self, kubelet: Kubelet) -> KubeCluster {
        KubeCluster { kubelet, ..self }
    }

    fn client(&self) -> Result<Client, Problem> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let _inside = self.runtime.enter();
        let client = connect::client(self.config.clone()).map_err(|why| Problem::Other(chain(&why)))?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    fn run<T>(&self, answer: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        self.runtime.block_on(answer)
    }

    fn read_pod(&self, pod: &PodRef, limits: Limits) -> Result<PodInfo, Problem> {
        request::check_names(&[&pod.namespace, &pod.name]).map_err(Problem::Other)?;
        let client = self.client()?;
        let object = self.run(ask(limits, || get(&client, request::pods(&pod.namespace), &pod.name)))?;
        objects::pod_info(&object).map_err(|why| Problem::Other(why.to_string()))
    }

    async fn write(
        &self,
        client: &Client,
        pod: &PodRef,
        annotations: &[(&str, &str)],
    ) -> Result<(), StatusError> {
        let failed = |problem| status_error(pod, problem);
        let mut pause = WRITE_PAUSE;
        for _ in 1..WRITES {
            match self.write_once(client, pod, annotations).await? {
                Ok(()) => return Ok(()),
                Err(Problem::Conflict(_)) => sleep(pause).await,
                Err(problem) => return Err(failed(problem)),
            }
            pause *= 2;
        }
        self.write_once(client, pod, annotations).await?.map_err(failed)
    }

    /// The outer error is final; the inner one may be a conflict.
    async fn write_once(
        &self,
        client: &Client,
        pod: &PodRef,
        annotations: &[(&str, &str)],
    ) -> Result<Result<(), Problem>, StatusError> {
        let path = || request::pods(&pod.namespace);
        let mut object = match ask(self.patient, || get(client, path(), &pod.name)).await {
            Ok(object) => object,
            Err(problem) => return Ok(Err(problem)),
        };
        let info = objects::pod_info(&object).map_err(|why| StatusError::Other(why.to_string()))?;
        if !info.is(pod) {
            let name = format!("{}/{}", pod.namespace, pod.name);
            return Err(StatusError::OtherPod { name, expected: pod.uid.clone(), found: info.uid });
        }
        objects::annotate(&mut object, annotations);
        let body = object.to_string().into_bytes();
        Ok(ask(self.patient, || put_status(client, path(), &pod.name, body.clone())).await)
    }
}

impl Cluster for KubeCluster {
    fn pod(&self, pod: &PodRef, patience: Patience) -> Result<Option<PodInfo>, PodError> {
        let limits = if patience == Patience::Patient { self.patient } else { self.brief };
        match self.read_pod(pod, limits) {
            Ok(info) => {
                info.uid.clone_into(&mut self.uid.borrow_mut());
                Ok(Some(info))
            }
            Err(Problem::NotFound(_)) => Ok(None),
            Err(Problem::Conflict(text) | Problem::Other(text)) => Err(PodError(text)),
        }
    }

    fn nads(&self, wanted: &[NadRef]) -> Vec<Result<NetworkAttachmentDefinition, NadError>> {
        let client = match self.client() {
            Ok(client) => client,
            Err(problem) => return wanted.iter().map(|_| Err(nad_error(problem.clone()))).collect(),
        };
        let answers = wanted.iter().map(|nad| read_nad(&client, nad, self.patient));
        self.runtime.block_on(join_all(answers))
    }

    fn devices(&self, pod: &PodInfo) -> Result<Devices, DeviceError> {
        let client = self.client().map_err(|problem| DeviceError::Claims(problem.to_string()))?;
        self.runtime.block_on(devices::of_pod(&client, &self.kubelet, pod))
    }

    fn set_pod_annotations(&self, pod: &PodRef, annotations: &[(&str, &str)]) -> Result<(), StatusError> {
        request::check_names(&[&pod.namespace, &pod.name]).map_err(StatusError::Other)?;
        let client = self.client().map_err(|problem| status_error(pod, problem))?;
        self.runtime.block_on(self.write(&client, pod, annotations))
    }

    fn event(&self, pod: &PodRef, event: &PodEvent) {
        // An Event that cannot be sent is no reason to fail anything.
        let Ok(client) = self.client() else { return };
        if request::check_names(&[&pod.namespace, &pod.name]).is_err() {
            return;
        }
        let uid = self.uid.borrow().clone();
        let pod = PodRef { uid: if uid.is_empty() { pod.uid.clone() } else { uid }, ..pod.clone() };
        let object = pod_event::object(&pod, event, Timestamp::now());
        let task = self.runtime.spawn(async move {
            let request = Request::new(request::events(&pod.namespace));
            if let Ok(request) = request.create(&PostParams::default(), object.to_string().into_bytes()) {
                let _ = client.request_text(request).await;
            }
        });
        self.events.borrow_mut().push(task);
    }

    fn flush(&self) {
        let tasks: Vec<JoinHandle<()>> = self.events.borrow_mut().drain(..).collect();
        if !tasks.is_empty() {
            let _ = self.runtime.block_on(async { timeout(FLUSH, join_all(tasks)).await });
        }
    }
}

async fn read_nad(
    client: &Client,
    nad: &NadRef,
    limits: Limits,
) -> Result<NetworkAttachmentDefinition, NadError> {
    request::check_names(&[&nad.namespace, &nad.name]).map_err(NadError::Other)?;
    let answer = ask(limits, || get(client, request::nads(&nad.namespace), &nad.name)).await;
    let object = answer.map_err(nad_error)?;
    NetworkAttachmentDefinition::parse(object.to_string().as_bytes())
        .map_err(|why| NadError::Other(why.to_string()))
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

fn nad_error(problem: Problem) -> NadError {
    match problem {
        Problem::NotFound(text) => NadError::NotFound(text),
        Problem::Conflict(text) | Problem::Other(text) => NadError::Other(text),
    }
}

fn status_error(pod: &PodRef, problem: Problem) -> StatusError {
    match problem {
        Problem::NotFound(_) => StatusError::NotFound(pod.name.clone()),
        Problem::Conflict(text) | Problem::Other(text) => StatusError::Other(text),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
