//! Connections: accepted, encrypted, served. Every task that a connection needs is tracked, so that stopping the server
//! really ends them all.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::http::Service;

/// Time that a client has for the TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Silence after which a connection is probed, and time that an answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, for instance for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The tasks of all connections.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn set(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn abort(&self) {
        self.set().abort_all();
    }

    /// Aborts all tasks and waits until they are gone; a task may have started others meanwhile.
    pub(super) async fn end(&self) {
        loop {
            let mut set = std::mem::take(&mut *self.set());
            if set.is_empty() {
                return;
            }
            set.shutdown().await;
        }
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut set = self.set();
        while set.try_join_next().is_some() {}
        set.spawn(async move { drop(future.await) });
    }
}

/// Accepts until aborted.
pub(super) async fn accept(listener: TcpListener, tls: TlsAcceptor, service: Arc<Service>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve(stream, tls.clone(), service.clone(), tasks.clone());
                hyper::rt::Executor::execute(&tasks, connection);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, service: Arc<Service>, tasks: Tasks) {
    prepare(&stream);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
    let mut builder = Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(1000);
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.handle(request).await) }
    });
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer).await {
        tracing::debug!(error, "a connection ended early");
    }
}

/// Small answers go out at once; peers that vanished are noticed. Neither is worth failing a connection for.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEP_ALIVE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE / 3);
}
