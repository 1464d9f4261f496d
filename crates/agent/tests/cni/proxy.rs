//! An API server in trouble: a proxy in front of it that is slow, refuses, or lets watches hear nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use polynic_cluster::client_from;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::api::runtime;
use crate::node::Node;

/// What happens to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Fine,
    /// Each answer comes so much later.
    Slow(Duration),
    /// Each answer is a failure with this code.
    Fails(u16),
}

struct Shared {
    mode: Mutex<Mode>,
    seen: Mutex<Vec<String>>,
    deaf: watch::Sender<bool>,
}

pub struct Proxy {
    pub kubeconfig: PathBuf,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl Proxy {
    /// In front of the server of a node.
    pub fn of(node: &Node) -> Self {
        let deaf = watch::Sender::new(false);
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Fine), seen: Mutex::default(), deaf });
        let (stop, (started, address)) = (watch::Sender::new(false), mpsc::channel());
        let (behind, serving, mut ending) = (node.world.kubeconfig(), shared.clone(), stop.subscribe());
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let client = client_from(Some(&behind)).await.unwrap().unwrap();
                let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    tokio::select! {
                        _ = ending.changed() => return,
                        Ok((stream, _)) = listener.accept() => {
                            tokio::spawn(serve(stream, client.clone(), serving.clone()));
                        }
                    }
                }
            });
        });
        let port = address.recv().unwrap().port();
        let kubeconfig = node.path("kubeconfig-proxy");
        let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "u", "user": {}}]});
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        Self { kubeconfig, shared, stop, thread: Some(thread) }
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Watches hear nothing from now on, or hear what they missed.
    pub fn deafen(&self, deaf: bool) {
        self.shared.deaf.send_replace(deaf);
    }

    /// Requests about single pods so far, as `METHOD path`.
    pub fn about_pods(&self) -> Vec<String> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|request| request.contains("/pods/")).cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(stream: TcpStream, client: Client, shared: Arc<Shared>) {
    let answer = service_fn(move |request| {
        let (client, shared) = (client.clone(), shared.clone());
        async move { Ok::<_, Infallible>(forward(request, client, &shared).await) }
    });
    // An agent that ends closes its connections as it likes.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn forward(request: Request<Incoming>, client: Client, shared: &Shared) -> Response<Body> {
    shared.seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
    let mode = *shared.mode.lock().unwrap();
    match mode {
        Mode::Fine => {}
        Mode::Slow(pause) => tokio::time::sleep(pause).await,
        Mode::Fails(code) => return failure(code),
    }
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return failure(400) };
    let request = http::Request::from_parts(head, kube::client::Body::from(body.to_bytes().to_vec()));
    let Ok(response) = client.send(request).await else { return failure(502) };
    let (head, body) = response.into_parts();
    if !is_watch {
        return Response::from_parts(head, body.map_err(Into::into).boxed_unsync());
    }
    let deaf = shared.deaf.subscribe();
    let frames = BodyStream::new(body).then(move |frame| {
        let mut deaf = deaf.clone();
        async move {
            let _ = deaf.wait_for(|deaf| !deaf).await;
            frame.map_err(Into::into)
        }
    });
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}

fn failure(code: u16) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                        "message": format!("the proxy says {code}"), "reason": "Trouble"});
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
