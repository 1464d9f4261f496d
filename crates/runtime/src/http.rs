//! Serving HTTP/1.1 on TCP and unix sockets, with or without TLS: small requests, small answers, every body in memory.

mod encrypted;
mod listener;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::time::timeout;

use crate::Shutdown;
pub use encrypted::serve_tls;
pub use hyper::{Method, Request, Response, StatusCode};
pub use listener::{ListenError, Listener, tcp, unix};

/// Time that a client has for the head and the body of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, for instance for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Time that answers under way have when the daemon ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// More than any request of a daemon's API has, in bytes.
const MAX_BODY: usize = 1 << 20;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Whoever answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request, whose body is complete.
    fn handle(&self, request: Request<Bytes>) -> impl Future<Output = Answer> + Send;
}

/// Serves until the end, and then lets answers under way go out.
pub async fn serve<H: Handler>(listener: Listener, handler: Arc<H>, shutdown: Shutdown) {
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = shutdown.unless(listener.accept()).await {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let handler = handler.clone();
        let answer = service_fn(move |request| {
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(answer(handler.as_ref(), request, MAX_BODY).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), answer));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still being served at the end");
    }
}

async fn answer<H: Handler>(handler: &H, request: Request<Incoming>, max_body: usize) -> Answer {
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > max_body as u64 {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
    }
    match timeout(PATIENCE, Limited::new(body, max_body).collect()).await {
        Ok(Ok(body)) => handler.handle(Request::from_parts(head, body.to_bytes())).await,
        Ok(Err(_)) => text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broken\n"),
        Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"),
    }
}

/// An answer with a text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

/// An answer with a value as JSON, and a line end, as the replaced daemons write it.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            with_type(status, "application/json", body.into())
        }
        Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")),
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests;
