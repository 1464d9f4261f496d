//! The kubelet's own server: exec, attach, logs and port-forward, as API servers and kubectl ask for them.
//!
//! It listens on 127.0.0.1:10250 of the node, in plain HTTP: only the API server of the lab gets there. [`websocket`] and [`spdy`] are the two protocols
//! that clients speak, each of which brings the [`session`] of a running program to the other side. [`exec`] runs programs, [`logs`] reads what the
//! stand-ins for containers wrote, [`port_forward`] opens connections in the pod.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::error::{Error, Result};
use crate::registry::{self, Sandbox};
use crate::state::State;

mod exec;
mod logs;
mod port_forward;
mod query;
mod session;
mod spdy;
mod websocket;

use query::Query;

/// Where a node's kubelet listens, as everywhere.
pub const PORT: u16 = 10250;

/// The body of an answer.
type Body = StreamBody<std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;
type Answer = Response<Body>;

/// Serves until the kubelet ends.
pub async fn serve(state: State) -> Result<()> {
    let what = format!("listen on 127.0.0.1:{PORT}");
    let listener = TcpListener::bind(("127.0.0.1", PORT)).map_err(Error::io(what.clone()))?;
    listener.set_nonblocking(true).map_err(Error::io(what.clone()))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::io(what.clone()))?;
    let state = Arc::new(state);
    loop {
        let (stream, _) = listener.accept().await.map_err(Error::io(what.clone()))?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // The client may go at any time.
            let _ = connection.with_upgrades().await;
        });
    }
}

/// What a request is about.
struct Call {
    sandbox: Sandbox,
    container: String,
    query: Query,
    state: Arc<State>,
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (verb, namespace, pod, container) = match segments.as_slice() {
        [verb, namespace, pod] => (*verb, *namespace, *pod, ""),
        [verb, namespace, pod, container] => (*verb, *namespace, *pod, *container),
        _ => return text(StatusCode::NOT_FOUND, "404 page not found"),
    };
    let Some(sandbox) = registry::sandbox_of(state, namespace, pod).filter(Sandbox::is_up) else {
        return text(StatusCode::NOT_FOUND, &format!("pod \"{namespace}/{pod}\" does not run on this node"));
    };
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let call = Call { sandbox, container: container.to_owned(), query, state: Arc::clone(state) };
    match verb {
        "containerLogs" => logs::answer(&call),
        "exec" => exec::answer(call, request),
        "attach" => exec::attach(call, request),
        "portForward" => port_forward::answer(call, request),
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn body(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(Box::pin(stream.map(|bytes| Ok(Frame::data(bytes)))))
}

/// An answer that is a sentence.
fn text(code: StatusCode, words: &str) -> Answer {
    let words = Bytes::from(format!("{words}\n"));
    let mut answer = Response::new(body(futures::stream::iter([words])));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// The answer that turns a connection over to another protocol.
fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(body(futures::stream::empty()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    answer
}

/// All values of a header, separated by commas or given several times.
fn offered(request: &Request<Incoming>, header: &str) -> Vec<String> {
    let values = request.headers().get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|one| one.trim().to_owned()).collect()
}

/// Whether a client asks for this protocol.
fn wants(request: &Request<Incoming>, protocol: &str) -> bool {
    let asked = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(protocol))
}
