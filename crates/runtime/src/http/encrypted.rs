//! Serving HTTPS: the same, behind a handshake that holds up nobody else.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::listener::Stream;
use super::{Handler, LAST_ANSWERS, Listener, PATIENCE, PAUSE, answer};
use crate::Shutdown;

/// An admission review holds two objects of up to 1.5 MiB, which may be twice as long in JSON.
const MAX_BODY: usize = 8 << 20;

/// As [`super::serve`], with TLS.
pub async fn serve_tls<H: Handler>(
    listener: Listener,
    tls: TlsAcceptor,
    handler: Arc<H>,
    shutdown: Shutdown,
) {
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = shutdown.unless(listener.accept()).await {
        match accepted {
            Ok(stream) => {
                drop(tokio::spawn(connection(stream, tls.clone(), handler.clone(), graceful.watcher())))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still being served at the end");
    }
}

async fn connection<H: Handler>(stream: Stream, tls: TlsAcceptor, handler: Arc<H>, watcher: Watcher) {
    let stream = match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(handler.as_ref(), request, MAX_BODY).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}
