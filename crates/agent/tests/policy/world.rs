//! An API server and the service of one node, both on loopback of the node that the test is in.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use polynic_agent::policy::{self, Config};
use polynic_apiserver::Server;
use polynic_cluster::client_from;
use polynic_control_plane::ControlPlane;
use polynic_runtime::Shutdown;
use polynic_wire::{PolicyNetwork, PolicySandbox, PolicySocket, ServiceError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::lan::{Lan, until};

const POLICIES: &str = "/apis/k8s.cni.cncf.io/v1beta1/namespaces/shop/multi-networkpolicies";
const PODS: &str = "/api/v1/namespaces/shop/pods";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Starts an embedded server, which lives as long as the process; answers its kubeconfig.
fn embedded(data: PathBuf) -> PathBuf {
    let (started, path) = mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async move {
            let server = Server::start(polynic_apiserver::Config::new(data)).await.unwrap();
            started.send(server.kubeconfig_path().to_owned()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    path.recv_timeout(Duration::from_secs(60)).unwrap()
}

pub struct World {
    directory: TempDir,
    /// The real server, if that is whom the test is about.
    _plane: Option<Arc<ControlPlane>>,
    kubeconfig: PathBuf,
    runtime: Runtime,
    client: Client,
}

impl World {
    /// The same with this many pods, attached to the network.
    pub fn with_pods(count: usize) -> Self {
        let world = Self::new();
        for number in 1..=count {
            world.pod(number);
            world.attached(number);
        }
        world
    }

    /// A cluster with the kind and the namespace `shop`.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = polynic_control_plane::current();
        let kubeconfig = match &plane {
            Some(plane) => plane.kubeconfig_path(),
            None => embedded(directory.path().join("api")),
        };
        let runtime = runtime();
        let client = runtime.block_on(client_from(Some(&kubeconfig))).unwrap().unwrap();
        let world = Self { directory, _plane: plane, kubeconfig, runtime, client };
        let crd: Value = serde_saphyr::from_str(polynic_api::multi_policy::CRD).unwrap();
        world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        world.create("/api/v1/namespaces", &shop);
        until("the kind is served", || {
            let request = Request::new(POLICIES).list(&ListParams::default()).unwrap();
            world.runtime.block_on(world.client.request::<Value>(request)).is_ok()
        });
        world
    }

    fn create(&self, path: &str, object: &Value) {
        let request =
            Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        let made: Result<Value, _> = self.runtime.block_on(self.client.request(request));
        made.unwrap_or_else(|why| panic!("{path}: {why}"));
    }

    fn patch(&self, path: &str, name: &str, patch: &Value) {
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(patch)).unwrap();
        let _: Value = self.runtime.block_on(self.client.request(request)).unwrap();
    }

    /// A policy for network `shop/lan`.
    pub fn policy(&self, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "lan"}});
        let policy = json!({"apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy", "metadata": metadata, "spec": spec});
        self.create(POLICIES, &policy);
    }

    pub fn change_policy(&self, name: &str, spec: &Value) {
        self.patch(POLICIES, name, &json!({"spec": spec}));
    }

    pub fn delete_policy(&self, name: &str) {
        let request = Request::new(POLICIES).delete(name, &DeleteParams::default()).unwrap();
        let _: Value = self.runtime.block_on(self.client.request(request)).unwrap();
    }

    /// Pod N of the LAN, on node `n1`, not attached yet.
    pub fn pod(&self, number: usize) {
        let annotations = json!({"k8s.v1.cni.cncf.io/networks": "lan"});
        let metadata = json!({"name": format!("pod{number}"), "labels": {"number": number.to_string()}, "annotations": annotations});
        let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]});
        self.create(PODS, &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    }

    /// The pod's status shows its network.
    pub fn attached(&self, number: usize) {
        let ips = [format!("10.60.0.{number}"), format!("fd60::{number}")];
        let status = json!([{"name": "shop/lan", "interface": "net1", "ips": ips}]).to_string();
        let annotations = json!({"k8s.v1.cni.cncf.io/network-status": status});
        self.patch(PODS, &format!("pod{number}"), &json!({"metadata": {"annotations": annotations}}));
    }

    pub fn label(&self, number: usize, labels: &Value) {
        self.patch(PODS, &format!("pod{number}"), &json!({"metadata": {"labels": labels}}));
    }

    /// Reason and message of all Events in `shop`.
    pub fn events(&self) -> Vec<(String, String)> {
        let request = Request::new("/api/v1/namespaces/shop/events").list(&ListParams::default()).unwrap();
        let list: Value = self.runtime.block_on(self.client.request(request)).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list["items"].as_array().unwrap().iter().map(|e| (text(&e["reason"]), text(&e["message"]))).collect()
    }

    /// The node's service.
    pub fn service(&self) -> Service {
        let config = Config {
            socket: Some(self.directory.path().join("policy.sock")),
            state: self.directory.path().join("policy"),
            caches: Vec::new(),
            kubeconfig: Some(self.kubeconfig.clone()),
            ..Config::new("n1")
        };
        let socket = PolicySocket::new(config.socket.clone().unwrap());
        let (shutdown, kubeconfig) = (Shutdown::default(), self.kubeconfig.clone());
        let ending = shutdown.clone();
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let client = client_from(Some(&kubeconfig)).await.unwrap().unwrap();
                policy::run(config, client, ending).await.unwrap();
            });
        });
        Service { socket, shutdown, thread: Some(thread) }
    }
}

/// The service on a thread of its own, until it is dropped.
pub struct Service {
    socket: PolicySocket,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// What an ADD asks before it attaches pod N.
    pub fn protect(&self, lan: &Lan, number: usize) -> Result<(), ServiceError> {
        self.socket.protect(&sandbox(lan, number), soon())
    }

    /// What an ADD that failed asks.
    pub fn release(&self, lan: &Lan, number: usize) {
        self.socket.release(&sandbox(lan, number), soon()).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn sandbox(lan: &Lan, number: usize) -> PolicySandbox {
    PolicySandbox {
        container_id: lan.pod(number).id.clone(),
        net_namespace: lan.pod(number).path.clone(),
        pod_namespace: "shop".into(),
        pod_name: format!("pod{number}"),
        pod_uid: String::new(),
        networks: vec![PolicyNetwork { name: "shop/lan".into(), interface: "net1".into() }],
    }
}
