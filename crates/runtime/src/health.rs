//! Probes: `startup`, `readiness` and `liveness` under a base path, answered by the daemon's own checks.

use bytes::Bytes;
use std::pin::Pin;

use crate::http::{self, Answer, Handler, Method, Request, StatusCode};

/// What kubelet asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Is it up for the first time?
    Startup,
    /// Can it serve now?
    Readiness,
    /// Is it worth keeping?
    Liveness,
}

type Checked = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Answers probes at `<base>/startup`, `<base>/readiness` and `<base>/liveness`: 200, or 500 with the reason.
pub struct Probes {
    base: &'static str,
    check: Box<dyn Fn(Probe) -> Checked + Send + Sync>,
}

impl Probes {
    /// Probes under a base path, such as `/v1/runtime`.
    pub fn new<F>(base: &'static str, check: impl Fn(Probe) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { base, check: Box::new(move |probe| Box::pin(check(probe))) }
    }

    fn probe(&self, request: &Request<Bytes>) -> Option<Probe> {
        let asked = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path().strip_prefix(self.base).filter(|_| asked)? {
            "/startup" => Some(Probe::Startup),
            "/readiness" => Some(Probe::Readiness),
            "/liveness" => Some(Probe::Liveness),
            _ => None,
        }
    }
}

impl Handler for Probes {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        let Some(probe) = self.probe(&request) else {
            return http::text(StatusCode::NOT_FOUND, "not found\n");
        };
        match (self.check)(probe).await {
            Ok(()) => http::empty(StatusCode::OK),
            Err(why) => {
                tracing::warn!(?probe, why, "a probe failed");
                http::json(StatusCode::INTERNAL_SERVER_ERROR, &why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(probes: &Probes, method: Method, path: &str) -> u16 {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        probes.handle(request).await.status().as_u16()
    }

    #[tokio::test]
    async fn each_probe_has_its_path_and_its_check() {
        let probes = Probes::new("/v1/runtime", |probe| async move {
            if probe == Probe::Readiness { Err("not yet".to_owned()) } else { Ok(()) }
        });
        assert_eq!(status(&probes, Method::GET, "/v1/runtime/startup").await, 200);
        assert_eq!(status(&probes, Method::GET, "/v1/runtime/liveness").await, 200);
        assert_eq!(status(&probes, Method::GET, "/v1/runtime/readiness").await, 500);
        assert_eq!(status(&probes, Method::POST, "/v1/runtime/startup").await, 404);
        assert_eq!(status(&probes, Method::GET, "/v1/runtime").await, 404);
    }
}
