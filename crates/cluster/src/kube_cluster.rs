//! The questions of an attachment, asked of an API server.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use kube::{Client, Config};
use polynic_api::{NetworkAttachmentDefinition, PodEvent};
use polynic_attach::{
    Cluster, DeviceError, Devices, NadError, NadRef, Patience, PodError, PodInfo, PodRef, StatusError,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::asker::{self, Asker};
use crate::connect::{self, ConnectError};
use crate::devices::{self, Kubelet};
use crate::retry::{Limits, Problem};

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

    fn asker(&self) -> Result<Asker, Problem> {
        Ok(Asker { client: self.client()?, patient: self.patient })
    }
}

impl Cluster for KubeCluster {
    fn pod(&self, pod: &PodRef, patience: Patience) -> Result<Option<PodInfo>, PodError> {
        let limits = if patience == Patience::Patient { self.patient } else { self.brief };
        let read = self.asker().and_then(|asker| self.runtime.block_on(asker.pod(pod, limits)));
        match read {
            Ok(info) => {
                info.uid.clone_into(&mut self.uid.borrow_mut());
                Ok(Some(info))
            }
            Err(Problem::NotFound(_)) => Ok(None),
            Err(Problem::Conflict(text) | Problem::Other(text)) => Err(PodError(text)),
        }
    }

    fn nads(&self, wanted: &[NadRef]) -> Vec<Result<NetworkAttachmentDefinition, NadError>> {
        let asker = match self.asker() {
            Ok(asker) => asker,
            Err(problem) => return wanted.iter().map(|_| Err(asker::nad_error(problem.clone()))).collect(),
        };
        self.runtime.block_on(join_all(wanted.iter().map(|nad| asker.nad(nad))))
    }

    fn devices(&self, pod: &PodInfo) -> Result<Devices, DeviceError> {
        let client = self.client().map_err(|problem| DeviceError::Claims(problem.to_string()))?;
        self.runtime.block_on(devices::of_pod(&client, &self.kubelet, pod))
    }

    fn set_pod_annotations(&self, pod: &PodRef, annotations: &[(&str, &str)]) -> Result<(), StatusError> {
        let asker = self.asker().map_err(|problem| asker::status_error(pod, problem))?;
        self.runtime.block_on(asker.annotate(pod, annotations))
    }

    fn event(&self, pod: &PodRef, event: &PodEvent) {
        // An Event that cannot be sent is no reason to fail anything.
        let Ok(asker) = self.asker() else { return };
        let uid = self.uid.borrow().clone();
        let pod = PodRef { uid: if uid.is_empty() { pod.uid.clone() } else { uid }, ..pod.clone() };
        let event = event.clone();
        let task = self.runtime.spawn(async move { asker.event(&pod, &event).await });
        self.events.borrow_mut().push(task);
    }

    fn flush(&self) {
        let tasks: Vec<JoinHandle<()>> = self.events.borrow_mut().drain(..).collect();
        if !tasks.is_empty() {
            let _ = self.runtime.block_on(async { timeout(FLUSH, join_all(tasks)).await });
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
