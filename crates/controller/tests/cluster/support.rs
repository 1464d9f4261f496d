//! An API server with the kinds of Spiderpool, and what kubectl would do with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use polynic_api::admission::Rules;
use polynic_api::spider;
use polynic_apiserver::{Authorization, Config, Running, Server};
use polynic_control_plane::ControlPlane;
use polynic_controller::certificates::Certificates;
use polynic_controller::webhook::registration::{PodNamespaces, Reach, Registration};
use polynic_controller::webhook::review::Kind;
use polynic_controller::webhook::server::Webhooks;
use polynic_controller::webhook::world::KubeWorld;
use polynic_runtime::tls::ServerCertificate;
use polynic_runtime::{Shutdown, http};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const RULES: Rules = Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: false };

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
pub const SUBNETS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spidersubnets";

/// An API server for the time of one test.
pub struct Cluster {
    pub client: Client,
    pub shutdown: Shutdown,
    server: ApiServer,
}

/// An embedded server with its directory, or the real one of this thread.
enum ApiServer {
    Embedded { running: Running, _directory: TempDir },
    Real(Arc<ControlPlane>),
}

impl ApiServer {
    async fn start(authorization: Authorization) -> Self {
        if let Some(plane) = polynic_control_plane::current() {
            return Self::Real(plane);
        }
        Self::embedded(|config| config.authorization = authorization).await
    }

    async fn embedded(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new(directory.path());
        change(&mut config);
        let running = Server::start(config).await.unwrap();
        Self::Embedded { running, _directory: directory }
    }

    fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::Embedded { running, .. } => running.kubeconfig_path().to_owned(),
            Self::Real(plane) => plane.kubeconfig_path(),
        }
    }
}

impl Cluster {
    /// Starts one that knows Spiderpool's kinds and NADs.
    pub async fn start() -> Self {
        Self::start_with(Authorization::default()).await
    }

    /// The same, in which everybody but the administrator may do what the manifests allow, and nothing else.
    pub async fn with_rights_of_the_manifests() -> Self {
        let cluster = Self::start_with(Authorization::Rbac).await;
        let group = "/apis/rbac.authorization.k8s.io/v1";
        for document in include_str!("../../../../deploy/manifests/polynic.yaml").split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let collection = match object["kind"].as_str().unwrap_or_default() {
                "ClusterRole" => format!("{group}/clusterroles"),
                "ClusterRoleBinding" => format!("{group}/clusterrolebindings"),
                "Role" => format!("{group}/namespaces/kube-system/roles"),
                "RoleBinding" => format!("{group}/namespaces/kube-system/rolebindings"),
                _ => continue,
            };
            cluster.create(&collection, &object).await;
        }
        cluster
    }

    /// How another process gets here.
    pub fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// The server as a service account of the manifests sees it: the administrator speaks for it.
    pub async fn account(&self, name: &str) -> Client {
        let mut config = Kubeconfig::read_from(self.server.kubeconfig()).unwrap();
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some(format!("system:serviceaccount:kube-system:{name}"));
        user.impersonate_groups =
            Some(["system:serviceaccounts", "system:authenticated"].map(str::to_owned).to_vec());
        let config =
            kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    async fn start_with(authorization: Authorization) -> Self {
        Self::of(ApiServer::start(authorization).await).await
    }

    /// An embedded one that remembers so few events that a watch cannot start in the past for long.
    pub async fn forgetful(events: usize) -> Self {
        Self::of(ApiServer::embedded(|config| config.limits.window_events = events).await).await
    }

    async fn of(server: ApiServer) -> Self {
        let client = polynic_cluster::client_from(Some(&server.kubeconfig())).await.unwrap().unwrap();
        let cluster = Self { client, shutdown: Shutdown::default(), server };
        for crd in spider::CRDS.iter().chain([&polynic_api::nad::CRD]) {
            let crd: Value = serde_saphyr::from_str(crd).unwrap();
            cluster.define(&crd).await;
        }
        cluster
    }

    /// Makes a definition, unless an earlier test on this server has, and waits until the kind is served.
    pub async fn define(&self, crd: &Value) {
        match self.try_create(DEFINITIONS, crd).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made.unwrap()),
        }
        let name = |path: &str| crd.pointer(path).and_then(Value::as_str).unwrap();
        let (group, version, plural) =
            (name("/spec/group"), name("/spec/versions/0/name"), name("/spec/names/plural"));
        let path = format!("/apis/{group}/{version}/{plural}");
        let served = async || {
            let request = Request::new(&path).list(&ListParams::default()).unwrap();
            self.client.request::<Value>(request).await.ok().map(drop)
        };
        self.eventually(&format!("{path} is served"), served).await;
    }

    pub async fn try_create(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        let request =
            Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        self.client.request(request).await
    }

    pub async fn create(&self, path: &str, object: &Value) -> Value {
        self.try_create(path, object).await.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    pub async fn try_get(&self, path: &str, name: &str) -> Option<Value> {
        let request = Request::new(path).get(name, &GetParams::default()).unwrap();
        match self.client.request(request).await {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(why) => panic!("{path}/{name}: {why}"),
        }
    }

    pub async fn get(&self, path: &str, name: &str) -> Value {
        self.try_get(path, name).await.unwrap_or_else(|| panic!("{path}/{name} is not there"))
    }

    pub async fn list(&self, path: &str) -> Vec<Value> {
        let request = Request::new(path).list(&ListParams::default()).unwrap();
        let list: Value = self.client.request(request).await.unwrap();
        list["items"].as_array().unwrap().clone()
    }

    pub async fn try_patch(&self, path: &str, name: &str, patch: &Value) -> Result<Value, kube::Error> {
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(patch)).unwrap();
        self.client.request(request).await
    }

    pub async fn patch(&self, path: &str, name: &str, patch: &Value) -> Value {
        self.try_patch(path, name, patch).await.unwrap_or_else(|why| panic!("{path}/{name}: {why}"))
    }

    pub async fn patch_status(&self, path: &str, name: &str, status: &Value) -> Value {
        let patch = json!({"status": status});
        let patch = Patch::Merge(&patch);
        let request =
            Request::new(path).patch_subresource("status", name, &PatchParams::default(), &patch).unwrap();
        self.client.request(request).await.unwrap_or_else(|why| panic!("{path}/{name}: {why}"))
    }

    pub async fn delete(&self, path: &str, name: &str) {
        let request = Request::new(path).delete(name, &DeleteParams::default()).unwrap();
        let _: Value =
            self.client.request(request).await.unwrap_or_else(|why| panic!("{path}/{name}: {why}"));
    }

    /// Waits until an object is as wanted, and answers it.
    pub async fn until(&self, path: &str, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let seen = |found: Option<Value>| found.filter(|object| wanted(object));
        self.eventually(&format!("{path}/{name}: {what}"), async || seen(self.try_get(path, name).await))
            .await
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, path: &str, name: &str) {
        let gone = async || self.try_get(path, name).await.is_none().then_some(());
        self.eventually(&format!("{path}/{name} goes"), gone).await
    }

    /// Asks until there is an answer.
    pub async fn eventually<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let asked = async {
            loop {
                if let Some(answer) = ask().await {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Serves the webhooks and registers them.
    pub async fn webhooks(&self, rules: Rules) -> Certificates {
        let listener = http::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let reach = Reach::Url(format!("https://{}", listener.address().unwrap()));
        let kinds: BTreeSet<Kind> = Kind::ALL.into();
        let serving = ServerCertificate::default();
        let certificates = Certificates {
            client: self.client.clone(),
            namespace: "kube-system".into(),
            secret: "spiderpool-controller-server-certs".into(),
            names: vec!["127.0.0.1".into()],
            registration: Registration {
                name: "spiderpool-controller".into(),
                reach,
                kinds: Kind::ALL.to_vec(),
                pods: Some(PodNamespaces { exclude: vec!["kube-system".into()], include: Vec::new() }),
            },
            serving: serving.clone(),
        };
        let world = KubeWorld::new(self.client.clone(), rules.subnets);
        let webhooks = Webhooks { world, rules, kinds, pods: true };
        let acceptor = serving.acceptor().unwrap();
        tokio::spawn(http::serve_tls(listener, acceptor, Arc::new(webhooks), self.shutdown.clone()));
        certificates.keep(Timestamp::now()).await.unwrap();
        certificates
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The code and message of a refusal.
pub fn refusal(result: Result<Value, kube::Error>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.message),
        other => panic!("not refused: {other:?}"),
    }
}

pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub fn pool(name: &str, spec: Value) -> Value {
    object("SpiderIPPool", name, spec)
}

/// `apis` path of a resource in a namespace.
pub fn in_namespace(resource: &str, namespace: &str) -> String {
    format!("/apis/spiderpool.spidernet.io/v2beta1/namespaces/{namespace}/{resource}")
}
