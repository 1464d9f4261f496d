//! One API server, and the objects that benchmarks put there.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::StreamExt;
use futures::stream;
use kube::Client;
use kube::core::Request;
use kube::core::params::{ListParams, Patch, PatchParams, PostParams};
use polynic_control_plane::{ControlPlane, Programs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
const PODS: &str = "/api/v1/namespaces/default/pods";
const NODES: &str = "/api/v1/nodes";
/// Requests at a time while objects are made; that is not measured.
const AT_ONCE: usize = 16;

/// An API server that ends with the value.
pub struct Cluster {
    name: &'static str,
    runtime: Runtime,
    client: Client,
    kubeconfig: PathBuf,
    directory: TempDir,
    _plane: Option<ControlPlane>,
}

/// A pod that was made.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Cluster {
    /// The embedded API server.
    ///
    /// # Errors
    /// It does not start.
    pub fn embedded() -> anyhow::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("api");
        let (started, path) = mpsc::channel();
        // The thread ends with the process.
        thread::spawn(move || {
            let run = || -> anyhow::Result<()> {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async move {
                    let config = polynic_apiserver::Config::new(data);
                    let running = polynic_apiserver::Server::start(config).await?;
                    started.send(running.kubeconfig_path().to_owned())?;
                    std::future::pending::<anyhow::Result<()>>().await
                })
            };
            run()
        });
        let kubeconfig = path.recv().context("the embedded API server did not start")?;
        Self::with("the embedded API server", kubeconfig, directory, None).map(Some)
    }

    /// etcd and kube-apiserver, if their programs are there.
    ///
    /// # Errors
    /// They do not start.
    pub fn real() -> anyhow::Result<Option<Self>> {
        let Ok(programs) = Programs::find() else { return Ok(None) };
        let plane = ControlPlane::start(&programs)?;
        let kubeconfig = plane.kubeconfig_path();
        Self::with("etcd and kube-apiserver", kubeconfig, tempfile::tempdir()?, Some(plane)).map(Some)
    }

    fn with(
        name: &'static str,
        kubeconfig: PathBuf,
        directory: TempDir,
        plane: Option<ControlPlane>,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(polynic_cluster::client_from(Some(&kubeconfig)))?;
        let client = client.ok_or_else(|| anyhow!("no client"))?;
        let cluster = Self { name, runtime, client, kubeconfig, directory, _plane: plane };
        for crd in polynic_api::spider::CRDS {
            let crd: Value = serde_saphyr::from_str(crd)?;
            cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", vec![crd])?;
        }
        while cluster.request::<Value>(Request::new(POOLS).list(&ListParams::default())?).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(cluster)
    }

    /// What the server is called in tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Credentials for it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A directory that goes with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn request<T: serde::de::DeserializeOwned>(&self, request: http::Request<Vec<u8>>) -> anyhow::Result<T> {
        Ok(self.runtime.block_on(self.client.request(request))?)
    }

    /// Creates objects, a few at a time.
    ///
    /// # Errors
    /// The API server refuses one.
    pub fn create(&self, path: &str, objects: Vec<Value>) -> anyhow::Result<Vec<Value>> {
        let create = |object: Value| async move {
            let request =
                Request::new(path).create(&PostParams::default(), object.to_string().into_bytes())?;
            Ok::<Value, anyhow::Error>(self.client.request(request).await?)
        };
        let made = stream::iter(objects).map(create).buffered(AT_ONCE).collect::<Vec<_>>();
        self.runtime.block_on(made).into_iter().collect()
    }

    /// Sets the status of an object that has no namespace.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn set_status(&self, path: &str, name: &str, status: &Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        let request =
            Request::new(path).patch_subresource("status", name, &PatchParams::default(), &patch)?;
        self.request::<Value>(request).map(drop)
    }

    /// Nodes, which may be there already.
    pub fn nodes(&self, names: &[String]) {
        for name in names {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
            let _ = self.create(NODES, vec![node]);
        }
    }

    /// Pods on a node that want addresses of pools.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn pods(&self, node: &str, count: usize, pools: &[String]) -> anyhow::Result<Vec<Pod>> {
        let (v6, v4): (Vec<_>, Vec<_>) = pools.iter().partition(|pool| pool.ends_with("v6"));
        let wanted = json!({"ipv4": v4, "ipv6": v6}).to_string();
        self.named_pods(node, node, count, &json!({"ipam.spidernet.io/ippool": wanted}))
    }

    /// Pods `PREFIX-0` and so on, on a node.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn named_pods(
        &self,
        node: &str,
        prefix: &str,
        count: usize,
        annotations: &Value,
    ) -> anyhow::Result<Vec<Pod>> {
        let pod = |n: usize| {
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{prefix}-{n}"), "annotations": annotations},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
        };
        let made = self.create(PODS, (0..count).map(pod).collect())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod =
            |made: &Value| Pod { name: text(&made["metadata"]["name"]), uid: text(&made["metadata"]["uid"]) };
        Ok(made.iter().map(pod).collect())
    }

    /// Defines a kind, and waits until `path` lists its objects.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn define(&self, crd: &str, path: &str) -> anyhow::Result<()> {
        let crd: Value = serde_saphyr::from_str(crd)?;
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", vec![crd])?;
        while self.request::<Value>(Request::new(path).list(&ListParams::default())?).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A pool of `size` addresses, the first `taken` of which are.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn pool(&self, name: &str, size: usize, taken: usize) -> anyhow::Result<()> {
        let v6 = name.ends_with("v6");
        let ip = |n: usize| {
            if v6 {
                format!("fd00::{n:x}")
            } else {
                format!("10.{}.{}.{}", 64 + (n >> 16), n >> 8 & 255, n & 255)
            }
        };
        let subnet = if v6 { "fd00::/64" } else { "10.64.0.0/10" };
        let spec = json!({"subnet": subnet, "ips": [format!("{}-{}", ip(1), ip(size))]});
        let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
            "metadata": {"name": name}, "spec": spec});
        self.create(POOLS, vec![pool])?;
        if taken > 0 {
            let record =
                |n: usize| (ip(n), json!({"pod": format!("old/pod-{n}"), "podUid": format!("uid-{n}")}));
            let records: serde_json::Map<_, _> = (1..=taken).map(record).collect();
            let status =
                json!({"status": {"allocatedIPs": json!(records).to_string(), "allocatedIPCount": taken}});
            let patch = Patch::Merge(status);
            let request =
                Request::new(POOLS).patch_subresource("status", name, &PatchParams::default(), &patch)?;
            self.request::<Value>(request)?;
        }
        Ok(())
    }
}
