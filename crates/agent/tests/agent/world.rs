//! A cluster without nodes: an API server, objects, and agents on sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use polynic_agent::addresses::Config;
use polynic_agent::addresses::Daemon;
use polynic_apiserver::{Authorization, Server};
use polynic_cluster::client_from;
use polynic_control_plane::ControlPlane;
use polynic_runtime::Shutdown;
use polynic_wire::messages::{AddRequest, AddResponse, DelRequest};
use polynic_wire::{AddressService, ServiceError, SocketService};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
pub const ENDPOINTS: &str = "/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spiderendpoints";
pub const COORDINATORS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Waits for a condition; a minute is more than any machine needs.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = soon();
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The embedded API server on a thread of its own, which can be stopped and started again; or the real one of this thread, which cannot.
pub struct ApiServer {
    real: Option<Arc<ControlPlane>>,
    directory: PathBuf,
    address: Mutex<Option<SocketAddr>>,
    running: Mutex<Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>>,
    authorization: Authorization,
}

impl ApiServer {
    fn start(&self) {
        if self.real.is_some() {
            return;
        }
        let mut config = polynic_apiserver::Config::new(&self.directory);
        config.listen = self.address.lock().unwrap().unwrap_or(config.listen);
        config.authorization = self.authorization;
        let (started, address) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let server = Server::start(config).await.unwrap();
                started.send(server.addr()).unwrap();
                let _ = stopped.await;
                server.shutdown().await;
            });
        });
        *self.address.lock().unwrap() = Some(address.recv().unwrap());
        *self.running.lock().unwrap() = Some((stop, thread));
    }

    pub fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some((stop, thread)) = running {
            drop(stop);
            thread.join().unwrap();
        }
    }

    pub fn restart(&self) {
        self.start();
    }

    fn kubeconfig(&self) -> PathBuf {
        match &self.real {
            Some(plane) => plane.kubeconfig_path(),
            None => self.directory.join("kubeconfig"),
        }
    }
}

pub struct World {
    pub directory: TempDir,
    pub server: ApiServer,
    runtime: Runtime,
    client: Client,
}

impl World {
    pub fn new() -> Self {
        Self::with(Authorization::default())
    }

    /// One in which everybody but the administrator may do what the manifests allow, and nothing else.
    pub fn with_rights_of_the_manifests() -> Self {
        let world = Self::with(Authorization::Rbac);
        for document in include_str!("../../../../deploy/manifests/polynic.yaml").split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let collection = match object["kind"].as_str().unwrap_or_default() {
                "ClusterRole" => "clusterroles",
                "ClusterRoleBinding" => "clusterrolebindings",
                _ => continue,
            };
            world.create(&format!("/apis/rbac.authorization.k8s.io/v1/{collection}"), &object);
        }
        world
    }

    /// An agent with the service account of the manifests: the administrator speaks for it.
    pub fn agent_of_the_manifests(&self, node: &str) -> Agent {
        let text = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        config["users"][0]["user"]["as"] = json!("system:serviceaccount:kube-system:spiderpool-agent");
        config["users"][0]["user"]["as-groups"] = json!(["system:serviceaccounts", "system:authenticated"]);
        let path = self.directory.path().join("account");
        std::fs::write(&path, config.to_string()).unwrap();
        let agent = Agent::start(self.config(node), path);
        agent.ready();
        agent
    }

    fn with(authorization: Authorization) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = ApiServer {
            real: polynic_control_plane::current(),
            directory: directory.path().join("api"),
            address: Mutex::default(),
            running: Mutex::default(),
            authorization,
        };
        server.start();
        let runtime = runtime();
        let client = runtime.block_on(client_from(Some(&server.kubeconfig()))).unwrap().unwrap();
        let world = Self { directory, server, runtime, client };
        for crd in polynic_api::spider::CRDS {
            world.define(&serde_saphyr::from_str(crd).unwrap());
        }
        until("the kinds are served", || {
            [POOLS, ENDPOINTS, COORDINATORS].iter().all(|path| world.lists(path))
        });
        for node in ["n1", "n2", "n3", "n4"] {
            world.create(
                "/api/v1/nodes",
                &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}),
            );
        }
        world
    }

    /// Makes a definition, unless an earlier test on this server has.
    pub fn define(&self, crd: &Value) {
        if self.get(DEFINITIONS, crd["metadata"]["name"].as_str().unwrap()).is_none() {
            self.create(DEFINITIONS, crd);
        }
    }

    fn lists(&self, path: &str) -> bool {
        let request = Request::new(path).list(&ListParams::default()).unwrap();
        self.runtime.block_on(self.client.request::<Value>(request)).is_ok()
    }

    pub fn create(&self, path: &str, object: &Value) -> Value {
        let request =
            Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// Creates an object; false if the server refuses.
    pub fn try_create(&self, path: &str, object: &Value) -> bool {
        let body = object.to_string().into_bytes();
        let request = Request::new(path).create(&PostParams::default(), body).unwrap();
        self.runtime.block_on(self.client.request::<Value>(request)).is_ok()
    }

    pub fn get(&self, path: &str, name: &str) -> Option<Value> {
        let request = Request::new(path).get(name, &GetParams::default()).unwrap();
        match self.runtime.block_on(self.client.request(request)) {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            read => Some(read.unwrap()),
        }
    }

    pub fn list(&self, path: &str) -> Vec<Value> {
        let request = Request::new(path).list(&ListParams::default()).unwrap();
        let list: Value = self.runtime.block_on(self.client.request(request)).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    pub fn patch(&self, path: &str, name: &str, patch: &Value) {
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(patch)).unwrap();
        let _: Value = self.runtime.block_on(self.client.request(request)).unwrap();
    }

    pub fn delete(&self, path: &str, name: &str, grace: u32) {
        let params = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
        let request = Request::new(path).delete(name, &params).unwrap();
        let _: Value = self.runtime.block_on(self.client.request(request)).unwrap();
    }

    pub fn pool(&self, name: &str, spec: Value) {
        let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
                          "metadata": {"name": name}, "spec": spec});
        self.create(POOLS, &pool);
    }

    /// Who holds what of a pool: address to (pod, UID).
    pub fn records(&self, pool: &str) -> BTreeMap<String, (String, String)> {
        let status = self.get(POOLS, pool).unwrap()["status"].clone();
        let Some(text) = status["allocatedIPs"].as_str() else {
            assert!(status["allocatedIPCount"].as_i64().is_none_or(|count| count == 0), "{status}");
            return BTreeMap::new();
        };
        let records: BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(status["allocatedIPCount"], json!(records.len()));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        records.into_iter().map(|(ip, r)| (ip, (text(&r["pod"]), text(&r["podUid"])))).collect()
    }

    /// What the independent checker finds wrong.
    pub fn violations(&self) -> Vec<String> {
        let survey = self.runtime.block_on(polynic_cluster::survey::survey(&self.client)).unwrap();
        assert_eq!(survey.unreadable, [""; 0]);
        polynic_checker::check_cluster(&survey.cluster).iter().map(ToString::to_string).collect()
    }

    /// A pod on a node; answers its UID.
    pub fn pod(&self, name: &str, node: &str, annotations: Value) -> String {
        self.pod_with(json!({"name": name, "annotations": annotations}), node)
    }

    pub fn pod_with(&self, metadata: Value, node: &str) -> String {
        self.pod_in("default", metadata, node)
    }

    pub fn pod_in(&self, namespace: &str, metadata: Value, node: &str) -> String {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        self.create(&pods, &pod)["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub fn socket(&self, node: &str) -> PathBuf {
        self.directory.path().join(format!("{node}.sock"))
    }

    pub fn config(&self, node: &str) -> Config {
        self.config_with(node, "", &[])
    }

    /// A configuration with further lines of `conf.yml` and further variables.
    pub fn config_with(&self, node: &str, lines: &str, variables: &[(&str, &str)]) -> Config {
        let text = format!("ipamUnixSocketPath: {}\n{lines}", self.socket(node).display());
        let env = |name: &str| match name {
            "SPIDERPOOL_NODE_NAME" => Some(node.to_owned()),
            "SPIDERPOOL_HEALTH_PORT" => Some("0".to_owned()),
            _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        };
        let config = Config::read(&text, &env).unwrap();
        Config { releases: self.directory.path().join(format!("{node}-releases")), ..config }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// An agent of a node, which has seen the cluster.
    pub fn agent(&self, node: &str) -> Agent {
        self.agent_with(self.config(node))
    }

    pub fn agent_with(&self, config: Config) -> Agent {
        let agent = Agent::start(config, self.kubeconfig());
        agent.ready();
        agent
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// An agent on a thread of its own.
pub struct Agent {
    pub client: Plugin,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(config: Config, kubeconfig: PathBuf) -> Self {
        let shutdown = Shutdown::default();
        let (client, ending) = (Plugin::new(&config.socket), shutdown.clone());
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let client = client_from(Some(&kubeconfig)).await.unwrap().unwrap();
                let seed = u64::from(std::process::id()) ^ config.node.bytes().map(u64::from).sum::<u64>();
                Daemon::start(config, client, seed, ending).await.unwrap().ended().await;
            });
        });
        Self { client, shutdown, thread: Some(thread) }
    }

    fn ready(&self) {
        until("the agent is healthy", || self.client.service.healthy(soon()).is_ok());
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::ops::Deref for Agent {
    type Target = Plugin;

    fn deref(&self) -> &Plugin {
        &self.client
    }
}

/// What a plugin does.
#[derive(Clone)]
pub struct Plugin {
    pub service: SocketService,
}

impl Plugin {
    pub fn new(socket: &Path) -> Self {
        Self { service: SocketService::new(socket) }
    }

    pub fn add(&self, pod: &str, uid: &str, nic: &str) -> Result<AddResponse, ServiceError> {
        self.service.allocate(&add_request(pod, uid, nic), soon())
    }

    /// The address of an interface.
    pub fn address(&self, pod: &str, uid: &str, nic: &str) -> String {
        let response = self.add(pod, uid, nic).unwrap_or_else(|why| panic!("{pod} {nic}: {why}"));
        response.ips.iter().find(|ip| ip.nic == nic).unwrap().address.clone()
    }

    pub fn del(&self, pod: &str, uid: &str) -> Result<(), ServiceError> {
        self.service.release(&del_request(pod, uid), soon())
    }
}

pub fn add_request(pod: &str, uid: &str, nic: &str) -> AddRequest {
    AddRequest {
        container_id: format!("c-{pod}"),
        if_name: nic.into(),
        net_namespace: "/run/netns/x".into(),
        pod_namespace: "default".into(),
        pod_name: pod.into(),
        pod_uid: uid.into(),
        ..AddRequest::default()
    }
}

pub fn del_request(pod: &str, uid: &str) -> DelRequest {
    DelRequest {
        container_id: format!("c-{pod}"),
        if_name: "eth0".into(),
        pod_namespace: "default".into(),
        pod_name: pod.into(),
        pod_uid: uid.into(),
        ..DelRequest::default()
    }
}
