//! The probes: `/healthz` is always well, `/readyz` once rules and subnet file are in place.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use polynic_runtime::http::{self, Answer, Handler, Request, StatusCode};

use super::is_ready;

/// Answers both.
pub(super) struct Health(pub(super) Arc<AtomicBool>);

impl Handler for Health {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        match request.uri().path() {
            "/healthz" => http::text(StatusCode::OK, "flanneld is running"),
            "/readyz" if is_ready(&self.0) => http::text(StatusCode::OK, "flanneld is ready"),
            "/readyz" => http::text(StatusCode::SERVICE_UNAVAILABLE, "flanneld is not ready"),
            _ => http::text(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn being_alive_is_not_being_ready() {
        let ready = Arc::new(AtomicBool::new(false));
        let health = Health(ready.clone());
        let status = async |path: &str| {
            let request = Request::builder().uri(path).body(Bytes::new()).unwrap();
            health.handle(request).await.status().as_u16()
        };
        assert_eq!((status("/healthz").await, status("/readyz").await, status("/x").await), (200, 503, 404));
        ready.store(true, Ordering::Relaxed);
        assert_eq!(status("/readyz").await, 200);
    }
}
