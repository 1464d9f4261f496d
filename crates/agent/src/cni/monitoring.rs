//! What `metricsPort` serves: the metrics, and with `enablePprof` the paths below `/debug/pprof/` (spec/multus.md 13.2).
//!
//! Go's profiles are made by its runtime, which is not here: those paths say so, and what to use instead.

use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use polynic_runtime::http::{self, Answer, Handler, Request, StatusCode};
use polynic_runtime::metrics::Page;

const PROFILES: &str = "/debug/pprof";
const INDEX: &str = "/debug/pprof/\n\n\
    cmdline: the command line of this process\n\n\
    polynic is no Go program, so it has none of Go's other profiles. On the node, `perf record -g -p PID` takes a profile of this process.\n";
const NOT_HERE: &str = "polynic is no Go program and has no such profile; on the node, `perf record -g -p PID` takes one of this process\n";

/// Serves both.
pub(super) struct Monitoring {
    /// The metrics, at whatever other path.
    pub(super) page: Page,
    /// Whether `enablePprof` is set.
    pub(super) profiles: bool,
}

impl Handler for Monitoring {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        match request.uri().path().strip_prefix(PROFILES) {
            Some("" | "/") if self.profiles => http::text(StatusCode::OK, INDEX),
            Some("/cmdline") if self.profiles => http::text(StatusCode::OK, command_line()),
            Some(rest) if rest.starts_with('/') && self.profiles => {
                http::text(StatusCode::NOT_IMPLEMENTED, NOT_HERE)
            }
            Some(rest) if rest.is_empty() || rest.starts_with('/') => http::empty(StatusCode::NOT_FOUND),
            _ => self.page.handle(request).await,
        }
    }
}

/// The words with a zero byte between them.
fn command_line() -> Vec<u8> {
    std::env::args_os().map(OsStringExt::into_vec).collect::<Vec<_>>().join(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use polynic_runtime::metrics::Metrics;
    use std::sync::Arc;

    async fn get(path: &str, profiles: bool) -> (u16, String) {
        let page = Page(Arc::new(Metrics::new("multus-daemon")));
        let request = Request::get(path).body(Bytes::new()).unwrap();
        let answer = Monitoring { page, profiles }.handle(request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn profiles_are_served_as_far_as_there_are_any_and_only_if_asked_for() {
        let own = std::env::args().collect::<Vec<_>>().join("\0");
        assert_eq!(get("/debug/pprof/cmdline", true).await, (200, own));
        assert!(get("/debug/pprof/", true).await.1.contains("cmdline"));
        for path in [
            "/debug/pprof/profile?seconds=1",
            "/debug/pprof/heap",
            "/debug/pprof/trace",
            "/debug/pprof/symbol",
        ] {
            let (status, text) = get(path, true).await;
            assert!(status == 501 && text.contains("perf record"), "{path}: {status} {text}");
        }
        for path in ["/debug/pprof", "/debug/pprof/", "/debug/pprof/cmdline"] {
            assert_eq!(get(path, false).await, (404, String::new()), "{path}");
        }
        assert!(get("/metrics", false).await.1.contains("service_name=\"multus-daemon\""));
        assert_eq!(get("/metrics", true).await.0, 200);
    }
}
