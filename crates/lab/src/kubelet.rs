//! A small kubelet: it does for the pods of one node what a kubelet with containerd does as far as networks are concerned.
//!
//! It knows the cluster only through the public API, and the network only through CNI. [`sandbox`] makes and removes a pod's network
//! as containerd does, [`worker`] decides when, [`status`] says what to tell the API server, [`registration`] keeps the Node object.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::hold;
use crate::namespaces::{self, Join};
use crate::proxy;
use crate::registry::{self, Sandbox};
use crate::state::State;
use crate::underlay::{Layout, Node};

mod lease;
mod registration;
mod sandbox;
mod status;
pub mod streams;
mod worker;

use worker::{Wanted, Worker};

/// What all workers of a node share.
#[derive(Debug)]
pub struct Kubelet {
    node: Node,
    layout: Layout,
    state: State,
    client: ClientBox,
}

/// A client without a readable form.
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// `__kubelet`: joins the node that `holder` holds and serves it until the lab ends.
pub fn main(number: u16, holder: u32) -> Result<()> {
    namespaces::join(holder, Join::Inner)?;
    let state = State::at(Path::new(hold::STATE_INSIDE))?;
    let spec = state.spec()?;
    let layout = Layout::new(spec.nodes, &spec.shape)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(async {
        let client = crate::api::client(&state.inner_kubeconfig()).await?;
        let kubelet = Kubelet { node: Node { number }, layout, state, client: ClientBox(client) };
        kubelet.serve().await
    })
}

impl Kubelet {
    fn client(&self) -> Client {
        self.client.0.clone()
    }

    fn proxy(&self) -> proxy::Config {
        proxy::Config { node: self.node.name(), pods: self.layout.shape().pods }
    }

    async fn serve(self) -> Result<()> {
        let kubelet = Arc::new(self);
        // Before the node says that it is ready: an old lease would speak against it.
        if let Err(why) = lease::renew(&kubelet).await {
            tracing::warn!(%why, "cannot renew the node's lease");
        }
        registration::register(&kubelet).await?;
        tokio::spawn(registration::keep(Arc::clone(&kubelet)));
        tokio::spawn(lease::keep(Arc::clone(&kubelet)));
        let state = kubelet.state.clone();
        tokio::spawn(async move {
            if let Err(why) = streams::serve(state).await {
                tracing::warn!(%why, "exec, logs and port-forward do not work on this node");
            }
        });
        tokio::spawn(proxy::run(kubelet.client(), kubelet.proxy()));
        let mut workers = Workers::recover(Arc::clone(&kubelet));
        let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", kubelet.node.name()));
        let pods = watcher::watcher(Api::<Pod>::all(kubelet.client()), mine);
        let mut pods = std::pin::pin!(pods.map_err(|why| tracing::warn!(%why, "watching pods")));
        let mut patience = crate::backoff::Backoff::of_requests();
        while let Some(event) = pods.next().await {
            match event {
                Ok(event) => {
                    patience.reset();
                    workers.take(event);
                }
                Err(()) => tokio::time::sleep(patience.wait()).await,
            }
        }
        Err(Error::Waited("the watch of pods ended".to_owned()))
    }
}

/// A worker per pod, by uid.
struct Workers {
    kubelet: Arc<Kubelet>,
    running: HashMap<String, watch::Sender<Wanted>>,
    /// Sandboxes that an earlier kubelet of this node left, by the pod's uid, until their pods are known to exist or not.
    found: BTreeMap<String, Vec<Sandbox>>,
    /// Uids seen since a listing began.
    listed: Vec<String>,
}

impl Workers {
    fn recover(kubelet: Arc<Kubelet>) -> Workers {
        let mut found: BTreeMap<String, Vec<Sandbox>> = BTreeMap::new();
        for sandbox in registry::sandboxes(&kubelet.state) {
            if sandbox.node == kubelet.node.name() {
                found.entry(sandbox.uid.clone()).or_default().push(sandbox);
            }
        }
        Workers { kubelet, running: HashMap::new(), found, listed: Vec::new() }
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.apply(pod);
            }
            Event::InitDone => self.stop_unlisted(),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.stop(&pod.uid().unwrap_or_default()),
        }
        self.running.retain(|_, worker| !worker.is_closed());
    }

    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            return self.delete(&uid, pod);
        }
        let wanted = Wanted::Run(Box::new(pod.clone()));
        match self.running.get(&uid) {
            Some(worker) => {
                let _ = worker.send(wanted);
            }
            None => self.start(&uid, &pod, wanted),
        }
    }

    /// A pod that is to go gets a worker even if it had none: somebody has to remove the object.
    fn delete(&mut self, uid: &str, pod: Pod) {
        if !self.running.contains_key(uid) {
            self.start(uid, &pod, Wanted::Delete);
        }
        if let Some(worker) = self.running.get(uid) {
            let _ = worker.send(Wanted::Delete);
        }
    }

    fn start(&mut self, uid: &str, pod: &Pod, wanted: Wanted) {
        let found = self.found.remove(uid).unwrap_or_default();
        let key = worker::Key::of(pod, uid);
        self.spawn(key, found, wanted);
    }

    fn spawn(&mut self, key: worker::Key, found: Vec<Sandbox>, wanted: Wanted) {
        let (sender, receiver) = watch::channel(wanted);
        let uid = key.uid.clone();
        let worker = Worker::new(Arc::clone(&self.kubelet), key, found, receiver);
        tokio::spawn(worker.run());
        self.running.insert(uid, sender);
    }

    fn stop(&mut self, uid: &str) {
        if let Some(worker) = self.running.get(uid) {
            let _ = worker.send(Wanted::Gone);
        }
    }

    /// After a full listing: what is not in it does not exist any more.
    fn stop_unlisted(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let gone: Vec<String> = self.running.keys().filter(|uid| !listed.contains(uid)).cloned().collect();
        for uid in gone {
            self.stop(&uid);
        }
        for (_, found) in std::mem::take(&mut self.found) {
            if let Some(key) = found.first().map(worker::Key::of_sandbox) {
                self.spawn(key, found, Wanted::Gone);
            }
        }
    }
}
