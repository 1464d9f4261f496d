//! A kubelet that knows one list of pods and nothing else: one gRPC answer over HTTP/2 on a unix socket.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::thread;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::Kubelet;
use super::pod_resources::ListAnswer;

pub(super) struct FakeKubelet {
    directory: TempDir,
}

impl FakeKubelet {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pod-resources")).unwrap();
        fs::create_dir(directory.path().join("device-plugins")).unwrap();
        Self { directory }
    }

    pub(super) fn files(&self) -> Kubelet {
        Kubelet::new(self.directory.path())
    }

    pub(super) fn write_checkpoint(&self, text: &str) {
        fs::write(self.files().checkpoint(), text).unwrap();
    }

    /// Serves from now on; the thread ends with the test process.
    pub(super) fn serve(&self, answer: Answer) {
        let (socket, (ready, served)) = (self.files().socket(), std::sync::mpsc::channel());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(socket, answer, || ready.send(()).unwrap()));
        });
        served.recv().unwrap();
    }
}

/// What it says: pods, or a gRPC status.
#[derive(Clone)]
pub(super) enum Answer {
    Pods(ListAnswer),
    Fails(&'static str, &'static str),
}

async fn listen(socket: PathBuf, answer: Answer, ready: impl FnOnce()) {
    let listener = UnixListener::bind(socket).unwrap();
    ready();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let response = respond(&request, &answer);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn respond(request: &Request<Incoming>, answer: &Answer) -> Response<Body> {
    assert_eq!(request.uri().path(), "/v1.PodResourcesLister/List");
    let (data, status, message) = match answer {
        Answer::Pods(pods) => (Some(framed(&pods.encode_to_vec())), "0", ""),
        Answer::Fails(status, message) => (None, *status, *message),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static(message));
    let frames: Vec<_> =
        data.map(Frame::data).into_iter().chain([Frame::trailers(trailers)]).map(Ok).collect();
    let body = StreamBody::new(stream::iter(frames));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// Not compressed, then the length.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat().into()
}
