//! A device plugin with devices that are nothing but names, as kubelet's API `v1beta1` wants it: gRPC over HTTP/2 on a unix socket.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::space::Space;

/// Where kubelet and its device plugins meet.
const DIRECTORY: &str = "/var/lib/kubelet/device-plugins";
/// A device that may be given away.
const HEALTHY: &str = "Healthy";

/// Tells the kubelet of a machine of devices. The plugin serves until the test ends.
///
/// # Panics
/// kubelet does not take it.
pub fn offer_devices(space: &Space, resource: &str, ids: &[&str]) {
    let directory = space.outside(DIRECTORY);
    let name = format!("{}.sock", resource.replace('/', "-"));
    let devices = ids.iter().map(|id| Device { id: (*id).to_owned(), health: HEALTHY.to_owned() }).collect();
    let (ready, served) = mpsc::channel();
    let socket = directory.join(&name);
    // The thread ends with the test process; it holds nothing but its socket.
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(socket, DeviceList { devices }, || ready.send(()).unwrap()));
    });
    served.recv().unwrap();
    register(
        &directory.join("kubelet.sock"),
        Registration { version: "v1beta1".to_owned(), endpoint: name, resource_name: resource.to_owned() },
    );
}

fn register(kubelet: &Path, registration: Registration) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::try_from(format!("unix://{}", kubelet.display())).unwrap();
        let mut client = Grpc::new(endpoint.connect().await.unwrap());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/v1beta1.Registration/Register");
        let codec = ProstCodec::<Registration, Nothing>::default();
        client.unary(tonic::Request::new(registration), path, codec).await.unwrap();
    });
}

async fn serve(socket: PathBuf, devices: DeviceList, ready: impl FnOnce()) {
    let listener = UnixListener::bind(socket).unwrap();
    ready();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let devices = devices.clone();
        let service = service_fn(move |request: Request<Incoming>| respond(request, devices.clone()));
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn respond(request: Request<Incoming>, devices: DeviceList) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let question = request.into_body().collect().await.unwrap().to_bytes();
    let method = path.rsplit('/').next().unwrap_or_default();
    let frames = match method {
        // This answer does not end: kubelet takes the end for that of the plugin.
        "ListAndWatch" => stream::iter([message(&devices)]).chain(stream::pending()).boxed(),
        "Allocate" => answer(&allocate(&question)),
        _ => answer(&Nothing {}),
    };
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(StreamBody::new(frames.map(Ok).boxed())).unwrap())
}

/// Containers get nothing of the device but the right to have it.
fn allocate(question: &[u8]) -> Allocation {
    let asked = AllocateRequest::decode(&question[5..]).unwrap();
    Allocation { containers: asked.containers.iter().map(|_| Nothing {}).collect() }
}

fn answer(body: &impl Message) -> BoxStream<'static, Frame<Bytes>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream::iter([message(body), Frame::trailers(trailers)]).boxed()
}

/// Not compressed, then the length.
fn message(body: &impl Message) -> Frame<Bytes> {
    let body = body.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    Frame::data([&[0][..], &length, &body].concat().into())
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct Registration {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    endpoint: String,
    #[prost(string, tag = "3")]
    resource_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct DeviceList {
    #[prost(message, repeated, tag = "1")]
    devices: Vec<Device>,
}

#[derive(Clone, PartialEq, Message)]
struct Device {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    health: String,
}

#[derive(Clone, PartialEq, Message)]
struct AllocateRequest {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Nothing>,
}

#[derive(Clone, PartialEq, Message)]
struct Allocation {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Nothing>,
}
