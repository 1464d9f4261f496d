//! One pod's life on the node: one task per pod, so that a pod that cannot start holds up no other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio::sync::watch;

use super::sandbox::{self, Failure};
use super::{Kubelet, status};
use crate::backoff::Backoff;
use crate::events::{self, Event};
use crate::registry::Sandbox;

/// What the API server says about a pod.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// It should run.
    Run(Box<Pod>),
    /// It should go, and its object with it.
    Delete,
    /// The object is gone already.
    Gone,
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid: a pod of the same name that comes later is another pod.
    pub uid: String,
}

impl Key {
    /// The key of an object.
    pub fn of(pod: &Pod, uid: &str) -> Key {
        let namespace = pod.namespace().unwrap_or_else(|| "default".to_owned());
        Key { namespace, name: pod.name_any(), uid: uid.to_owned() }
    }

    /// The key of a sandbox that was found on the node.
    pub fn of_sandbox(sandbox: &Sandbox) -> Key {
        let Sandbox { namespace, name, uid, .. } = sandbox.clone();
        Key { namespace, name, uid }
    }
}

/// How often a running sandbox is looked at.
const GLANCE: Duration = Duration::from_secs(2);

/// The task of one pod.
pub struct Worker {
    kubelet: Arc<Kubelet>,
    key: Key,
    wanted: watch::Receiver<Wanted>,
    sandbox: Option<Sandbox>,
    /// Sandboxes whose removal has not succeeded yet.
    remains: Vec<Sandbox>,
    backoff: Backoff,
    started: Timestamp,
}

impl Worker {
    /// A worker that takes over the sandboxes `found`: the one that still runs, and what is left of others.
    pub fn new(
        kubelet: Arc<Kubelet>,
        key: Key,
        found: Vec<Sandbox>,
        wanted: watch::Receiver<Wanted>,
    ) -> Worker {
        let (mut up, mut remains): (Vec<_>, Vec<_>) = found.into_iter().partition(Sandbox::is_up);
        let sandbox = up.pop();
        remains.extend(up);
        let backoff = Backoff::of_sandboxes();
        Worker { kubelet, key, wanted, sandbox, remains, backoff, started: Timestamp::now() }
    }

    /// Until the pod is gone.
    pub async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted {
                Wanted::Run(pod) => self.keep_running(&pod).await,
                Wanted::Delete => return self.delete().await,
                Wanted::Gone => return self.remove_network().await,
            }
        }
    }

    /// One step towards a running pod, then waits for something to do.
    async fn keep_running(&mut self, pod: &Pod) {
        if self.sandbox.as_ref().is_some_and(|sandbox| !sandbox.is_up()) {
            tracing::warn!(pod = %self.name(), "the sandbox's process is gone: making a new sandbox");
            self.remains.extend(self.sandbox.take());
        }
        self.remove_remains().await;
        if self.sandbox.is_some() {
            self.post_running(pod).await;
            return self.wait(GLANCE).await;
        }
        match self.make_sandbox(pod).await {
            Ok(sandbox) => {
                self.backoff.reset();
                self.sandbox = Some(sandbox);
                self.post_running(pod).await;
                self.tell_started(pod).await;
            }
            Err(failure) => self.report(pod, failure).await,
        }
    }

    async fn make_sandbox(&self, pod: &Pod) -> Result<Sandbox, Failure> {
        let (kubelet, request) = (Arc::clone(&self.kubelet), sandbox::Request::of(pod, &self.key));
        off_thread(move || sandbox::make(&kubelet.state, &kubelet.node.name(), &request)).await
    }

    async fn report(&mut self, pod: &Pod, failure: Failure) {
        tracing::warn!(pod = %self.name(), why = %failure.message, "cannot make the sandbox");
        self.remains.extend(failure.remains.map(|sandbox| *sandbox));
        // A DEL that failed often succeeds the second time; nothing should lie about while we wait.
        self.remove_remains().await;
        let message = format!("Failed to create pod sandbox: {}", failure.message);
        let node = self.kubelet.node.name();
        self.tell(Event::of_kubelet(&node, pod, "FailedCreatePodSandBox", message)).await;
        let status = status::waiting(pod, &self.kubelet.host_ips(), &failure.message, self.started);
        self.post(pod, status).await;
        let wait = self.backoff.wait();
        self.wait_unless_deleted(wait).await;
    }

    async fn tell_started(&self, pod: &Pod) {
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            let message = format!("Started container {}", container.name);
            self.tell(Event::of_kubelet(&self.kubelet.node.name(), pod, "Started", message).normal()).await;
        }
    }

    async fn tell(&self, event: Event) {
        if let Err(why) = events::write(&self.kubelet.client(), &event).await {
            tracing::warn!(pod = %self.name(), %why, "cannot write an event");
        }
    }

    async fn post_running(&mut self, pod: &Pod) {
        let Some(sandbox) = &self.sandbox else { return };
        if status::says_running(pod, sandbox) {
            return;
        }
        let status = status::running(pod, sandbox, &self.kubelet.host_ips(), self.started);
        self.post(pod, status).await;
    }

    async fn post(&self, pod: &Pod, status: Value) {
        let pods: Api<Pod> = Api::namespaced(self.kubelet.client(), &self.key.namespace);
        let patch = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        if let Err(why) = patch
            && !is_absent(&why)
        {
            tracing::warn!(pod = %self.name(), %why, "cannot post the pod's status");
        }
    }

    /// Waits for news of the pod, at most `longest`.
    async fn wait(&mut self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.wanted.changed()).await;
    }

    /// As [`Worker::wait`], but our own status updates must not cut the wait short.
    async fn wait_unless_deleted(&mut self, longest: Duration) {
        let gone = self.wanted.wait_for(|wanted| !matches!(wanted, Wanted::Run(_)));
        let _ = tokio::time::timeout(longest, gone).await;
    }

    async fn delete(&mut self) {
        self.remove_network().await;
        let pods: Api<Pod> = Api::namespaced(self.kubelet.client(), &self.key.namespace);
        let precondition = Preconditions { uid: Some(self.key.uid.clone()), resource_version: None };
        let now = DeleteParams::default().grace_period(0).preconditions(precondition);
        let mut backoff = Backoff::of_requests();
        while let Err(why) = pods.delete(&self.key.name, &now).await {
            // A conflict: the name belongs to another pod by now.
            if is_absent(&why) || is_conflict(&why) {
                return;
            }
            tracing::warn!(pod = %self.name(), %why, "cannot remove the pod object");
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// Removes all sandboxes, however long it takes: CNI promises that DEL succeeds in the end.
    async fn remove_network(&mut self) {
        self.remains.extend(self.sandbox.take());
        let mut backoff = Backoff::of_sandboxes();
        loop {
            self.remove_remains().await;
            if self.remains.is_empty() {
                return;
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    async fn remove_remains(&mut self) {
        for sandbox in std::mem::take(&mut self.remains) {
            let (kubelet, gone) = (Arc::clone(&self.kubelet), sandbox.clone());
            let removed = off_thread(move || sandbox::remove(&kubelet.state, &gone)).await;
            if let Err(why) = removed {
                tracing::warn!(pod = %self.name(), %why, "cannot remove the sandbox");
                self.remains.push(sandbox);
            }
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.key.namespace, self.key.name)
    }
}

fn is_absent(why: &kube::Error) -> bool {
    matches!(why, kube::Error::Api(status) if status.code == 404)
}

fn is_conflict(why: &kube::Error) -> bool {
    matches!(why, kube::Error::Api(status) if status.code == 409)
}

/// CNI plugins block, so they get threads of their own.
fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let task = tokio::task::spawn_blocking(work);
    async move {
        match task.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(value) => value,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is going down, and with it this task.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}
