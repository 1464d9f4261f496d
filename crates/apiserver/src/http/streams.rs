//! exec, attach, log and port-forward of pods: requests that the pod's kubelet answers. The server finds the pod's node, hands the request
//! on, and carries bytes; which protocol they speak (WebSocket, SPDY) is between client and kubelet.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::body::Body;
use super::query::Query;
use super::route::ResourcePath;
use crate::access::User;
use crate::api::{Api, Form, Target};
use crate::json::{items, text};
use crate::server::Tasks;
use crate::status::Status;

/// A connection to a kubelet, on its way.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// How the server reaches kubelets.
pub trait Kubelets: fmt::Debug + Send + Sync {
    /// Opens a connection to the kubelet of the node `node`, which speaks plain HTTP/1.1 there, with a kubelet's paths: `/exec`,
    /// `/attach` and `/containerLogs` with `/{namespace}/{pod}/{container}`, `/portForward/{namespace}/{pod}`, each with
    /// the query of the API.
    fn connect(&self, node: &str) -> Connecting;
}

/// The sub-resources that kubelets answer, and their paths there.
const STREAMS: [(&str, &str); 4] =
    [("exec", "exec"), ("attach", "attach"), ("log", "containerLogs"), ("portforward", "portForward")];
/// The annotation with the container that is meant if none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What answers such requests.
pub(crate) struct Streams {
    kubelets: Option<Arc<dyn Kubelets>>,
    tasks: Tasks,
}

impl Streams {
    pub(crate) fn new(kubelets: Option<Arc<dyn Kubelets>>, tasks: Tasks) -> Self {
        Self { kubelets, tasks }
    }

    /// True for requests that are answered here.
    pub(super) fn are_meant(path: &ResourcePath) -> bool {
        let core_pod = path.group.is_empty() && path.plural == "pods" && !path.namespace.is_empty();
        core_pod && STREAMS.iter().any(|(name, _)| *name == path.subresource)
    }

    /// Hands the request to the pod's kubelet.
    pub(super) async fn answer(
        &self,
        api: &Api,
        path: &ResourcePath,
        request: Request<Incoming>,
        user: &User,
    ) -> Result<Response<Body>, Status> {
        if ![Method::GET, Method::POST].contains(request.method()) {
            return Err(Status::method_not_allowed());
        }
        let Some(kubelets) = &self.kubelets else {
            return Err(Status::new(501, "NotImplemented", "this API server has no way to kubelets"));
        };
        let pod = pod(api, path)?;
        let node = text(&pod, "spec.nodeName").to_owned();
        if node.is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", path.name)));
        }
        let uri = kubelet_uri(path, &pod, request.uri().query())?;
        if let Some((below, options)) = connect_options(path, request.uri().query()) {
            api.admit_connect(&target(api, path)?, below, (options, user.info())).await?;
        }
        let unreachable = |why: String| {
            Status::internal(format!("error dialing backend: the kubelet of node {node}: {why}"))
        };
        let stream = kubelets.connect(&node).await.map_err(|why| unreachable(why.to_string()))?;
        self.carry(stream, request, uri).await.map_err(|why| unreachable(why.to_string()))
    }

    async fn carry(
        &self,
        stream: TcpStream,
        mut request: Request<Incoming>,
        uri: Uri,
    ) -> Result<Response<Body>, hyper::Error> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.execute(async move { drop(connection.with_upgrades().await) });
        let client = hyper::upgrade::on(&mut request);
        *request.uri_mut() = uri;
        *request.version_mut() = hyper::Version::HTTP_11;
        // The kubelet is told what is wanted, not by whom.
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().insert(HOST, HeaderValue::from_static("kubelet"));
        let mut response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(Body::stream));
        }
        let kubelet = hyper::upgrade::on(&mut response);
        self.tasks.execute(async move {
            let (Ok(client), Ok(kubelet)) = tokio::join!(client, kubelet) else { return };
            let (mut client, mut kubelet) = (TokioIo::new(client), TokioIo::new(kubelet));
            // Either side may end it at any time.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut kubelet).await;
        });
        Ok(response.map(|_| Body::full(bytes::Bytes::new())))
    }
}

fn target(api: &Api, path: &ResourcePath) -> Result<Target, Status> {
    let kinds = api.registry().snapshot();
    let resource = kinds.find("", &path.version, "pods").ok_or_else(Status::no_such_path)?;
    Ok(Target { resource: resource.clone(), namespace: path.namespace.clone(), name: path.name.clone() })
}

fn pod(api: &Api, path: &ResourcePath) -> Result<Value, Status> {
    serde_json::from_slice(&api.get(&target(api, path)?, Form::Object)?).map_err(Status::internal)
}

/// What webhooks are shown of a connection: the sub-resource, and the query as an object. Logs are read, not connected to.
fn connect_options(path: &ResourcePath, query: Option<&str>) -> Option<(&'static str, Value)> {
    let kinds = [
        ("exec", "PodExecOptions"),
        ("attach", "PodAttachOptions"),
        ("portforward", "PodPortForwardOptions"),
    ];
    let (below, kind) = kinds.into_iter().find(|(below, _)| *below == path.subresource)?;
    let query = Query::parse(query);
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    for key in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|key| query.flag(key)) {
        options[key] = json!(true);
    }
    if query.has("container") {
        options["container"] = json!(query.get("container"));
    }
    if query.has("command") {
        options["command"] = json!(query.all("command"));
    }
    let ports: Vec<u16> = query.all("ports").iter().filter_map(|port| port.parse().ok()).collect();
    if !ports.is_empty() {
        options["ports"] = json!(ports);
    }
    Some((below, options))
}

/// The path and query that the kubelet knows.
fn kubelet_uri(path: &ResourcePath, pod: &Value, query: Option<&str>) -> Result<Uri, Status> {
    let verb = STREAMS.iter().find(|(name, _)| *name == path.subresource).map_or("", |(_, verb)| verb);
    let mut uri = format!("/{verb}/{}/{}", path.namespace, path.name);
    if path.subresource != "portforward" {
        uri = format!("{uri}/{}", container(pod, Query::parse(query).get("container"))?);
    }
    if let Some(query) = query {
        uri = format!("{uri}?{query}");
    }
    uri.parse().map_err(Status::bad_request)
}

/// The container that is meant: the one named, the only one, or the pod's default.
fn container(pod: &Value, named: &str) -> Result<String, Status> {
    let name = text(pod, "metadata.name");
    let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let all: Vec<&str> = lists.iter().flat_map(|list| items(pod, list)).map(|c| text(c, "name")).collect();
    let own: Vec<&str> = items(pod, "spec.containers").iter().map(|c| text(c, "name")).collect();
    let default = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str().unwrap_or_default();
    match (named, own.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", _) if all.contains(&default) => Ok(default.to_owned()),
        ("", _) => {
            let choices = own.join(" ");
            let why =
                format!("a container name must be specified for pod {name}, choose one of: [{choices}]");
            Err(Status::bad_request(why))
        }
        (named, _) if all.contains(&named) => Ok(named.to_owned()),
        (named, _) => Err(Status::bad_request(format!("container {named} is not valid for pod {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(subresource: &str) -> ResourcePath {
        let own = str::to_owned;
        ResourcePath {
            version: own("v1"),
            namespace: own("n"),
            plural: own("pods"),
            name: own("p"),
            subresource: own(subresource),
            ..ResourcePath::default()
        }
    }

    fn pod(names: &[&str]) -> Value {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"metadata": {"name": "p"}, "spec": {"containers": list}})
    }

    fn uri(subresource: &str, pod: &Value, query: &str) -> String {
        kubelet_uri(&path(subresource), pod, Some(query)).unwrap().to_string()
    }

    #[test]
    fn kubelets_have_paths_of_their_own() {
        let one = pod(&["c"]);
        assert_eq!(uri("exec", &one, "command=ip&command=a"), "/exec/n/p/c?command=ip&command=a");
        assert_eq!(uri("log", &one, "follow=true"), "/containerLogs/n/p/c?follow=true");
        assert_eq!(uri("portforward", &one, "ports=80"), "/portForward/n/p?ports=80");
        assert!(Streams::are_meant(&path("attach")) && !Streams::are_meant(&path("status")));
    }

    #[test]
    fn of_several_containers_one_must_be_named_or_the_default() {
        let mut two = pod(&["a", "b"]);
        assert_eq!(uri("exec", &two, "container=b"), "/exec/n/p/b?container=b");
        let why = |pod: &Value, name: &str| container(pod, name).unwrap_err().message;
        assert_eq!(why(&two, ""), "a container name must be specified for pod p, choose one of: [a b]");
        assert_eq!(why(&two, "x"), "container x is not valid for pod p");
        two["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(container(&two, "").unwrap(), "b");
    }
}
