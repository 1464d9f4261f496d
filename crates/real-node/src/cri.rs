//! The Container Runtime Interface, as far as a test needs it: sandboxes come and go, as a kubelet asks for them.
//!
//! Messages are written by hand with the field numbers of `runtime.v1` (k8s.io/cri-api); protobuf skips what is not named here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A client of one container runtime.
#[derive(Debug)]
pub struct Cri {
    runtime: Runtime,
    socket: PathBuf,
}

/// What a kubelet calls a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxName {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// How many sandboxes of this pod there were before.
    pub attempt: u32,
}

/// A sandbox as the runtime describes it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Whether it runs.
    pub is_ready: bool,
    /// Its address, and then its other ones.
    pub ips: Vec<String>,
    /// The process that holds it, 0 if there is none.
    pub pid: u64,
    /// The path of its network namespace, as seen by the runtime.
    pub netns: String,
}

impl SandboxName {
    /// The first sandbox of a pod in namespace `default`.
    pub fn first(name: &str) -> Self {
        Self {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            attempt: 0,
        }
    }
}

impl Cri {
    /// A client for this socket. Each call makes a connection of its own, so the runtime may be restarted in between.
    ///
    /// # Panics
    /// This process can have no more descriptors.
    pub fn new(socket: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, socket: socket.to_owned() }
    }

    /// Whether the runtime and its network are ready; the error is what it says otherwise.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn is_ready(&self) -> Result<(), String> {
        let answer: StatusResponse = self.call("Status", Empty {}).map_err(|why| why.to_string())?;
        let conditions = answer.status.unwrap_or_default().conditions;
        match conditions.iter().find(|condition| !condition.status) {
            None => Ok(()),
            Some(condition) => Err(format!("{}: {}", condition.kind, condition.message)),
        }
    }

    /// The names of the networks that the runtime has loaded, its own loopback among them.
    ///
    /// # Panics
    /// The runtime does not answer, or says nothing of networks.
    pub fn networks(&self) -> Vec<String> {
        let answer: StatusResponse = self.call("Status", RuntimeStatusRequest { verbose: true }).unwrap();
        let loaded: Value = serde_json::from_str(&answer.info["cniconfig"]).unwrap();
        let networks = loaded["Networks"].as_array().into_iter().flatten();
        networks.filter_map(|network| Some(network["Config"]["Name"].as_str()?.to_owned())).collect()
    }

    /// Makes a sandbox and attaches it to its networks; answers its id.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn run_sandbox(&self, name: &SandboxName) -> Result<String, Status> {
        let config = SandboxConfig {
            metadata: Some(Metadata {
                name: name.name.clone(),
                uid: name.uid.clone(),
                namespace: name.namespace.clone(),
                attempt: name.attempt,
            }),
            hostname: name.name.clone(),
            log_directory: format!("/var/log/pods/{}", name.name),
            linux: Some(LinuxConfig { cgroup_parent: "/polynic-test".to_owned() }),
        };
        let answer: RunResponse = self.call("RunPodSandbox", RunRequest { config: Some(config) })?;
        Ok(answer.id)
    }

    /// Detaches a sandbox and ends its processes.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn stop_sandbox(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("StopPodSandbox", ById { id: id.to_owned() }).map(drop)
    }

    /// Removes a stopped sandbox.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        self.call::<_, Empty>("RemovePodSandbox", ById { id: id.to_owned() }).map(drop)
    }

    /// Describes a sandbox; `None` if there is none.
    ///
    /// # Panics
    /// The runtime does not answer.
    pub fn sandbox(&self, id: &str) -> Option<Sandbox> {
        let question = StatusRequest { id: id.to_owned(), verbose: true };
        let answer: SandboxStatusResponse = match self.call("PodSandboxStatus", question) {
            Err(why) if why.code() == Code::NotFound => return None,
            answer => answer.unwrap(),
        };
        let status = answer.status.unwrap_or_default();
        let network = status.network.unwrap_or_default();
        let info = answer.info.get("info").map_or("null", String::as_str);
        let info: Value = serde_json::from_str(info).unwrap();
        let others = network.others.into_iter().map(|other| other.ip);
        Some(Sandbox {
            is_ready: status.state == 0,
            ips: std::iter::once(network.ip).filter(|ip| !ip.is_empty()).chain(others).collect(),
            pid: info["pid"].as_u64().unwrap_or_default(),
            netns: netns(&info),
        })
    }

    /// The ids of all sandboxes.
    ///
    /// # Panics
    /// The runtime does not answer.
    pub fn sandboxes(&self) -> Vec<String> {
        let answer: ListResponse = self.call("ListPodSandbox", Empty {}).unwrap();
        answer.items.into_iter().map(|item| item.id).collect()
    }

    fn call<Q, A>(&self, method: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}")).unwrap();
        let unavailable = |why: tonic::transport::Error| Status::unavailable(why.to_string());
        self.runtime.block_on(async {
            let socket =
                Endpoint::try_from(format!("unix://{}", self.socket.display())).map_err(unavailable)?;
            let mut client = Grpc::new(socket.connect().await.map_err(unavailable)?);
            client.ready().await.map_err(unavailable)?;
            let answer = client.unary(Request::new(question), path, ProstCodec::<Q, A>::default()).await?;
            Ok(answer.into_inner())
        })
    }
}

/// The runtime's own description has the whole OCI configuration.
fn netns(info: &Value) -> String {
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
    let network = namespaces.into_iter().flatten().find(|namespace| namespace["type"] == "network");
    network.and_then(|namespace| namespace["path"].as_str()).unwrap_or_default().to_owned()
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct ById {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct RunResponse {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(uint32, tag = "4")]
    attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatus {
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(message, optional, tag = "5")]
    network: Option<NetworkStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct NetworkStatus {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    others: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
struct PodIp {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<ListItem>,
}

#[derive(Clone, PartialEq, Message)]
struct ListItem {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Message)]
struct Condition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bool, tag = "2")]
    status: bool,
    #[prost(string, tag = "4")]
    message: String,
}
