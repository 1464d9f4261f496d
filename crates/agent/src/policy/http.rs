//! The requests of attachments, over the unix socket (`polynic_wire::policy`).

use bytes::Bytes;
use polynic_runtime::http::{self, Answer, Handler, Method, Request, StatusCode};
use polynic_wire::policy::SANDBOX;
use polynic_wire::{BASE_PATH, PolicySandbox};

use super::service::Handle;

/// Serves the requests.
pub(super) struct Api(pub(super) Handle);

impl Handler for Api {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        if request.uri().path().strip_prefix(BASE_PATH) != Some(SANDBOX) {
            return http::text(StatusCode::NOT_FOUND, "there is nothing at this path\n");
        }
        let sandbox: PolicySandbox = match serde_json::from_slice(request.body()) {
            Ok(sandbox) => sandbox,
            Err(why) => return http::text(StatusCode::BAD_REQUEST, format!("no sandbox: {why}\n")),
        };
        let done = match *request.method() {
            Method::PUT => self.0.protect(sandbox).await,
            Method::DELETE => self.0.release(sandbox).await,
            _ => return http::text(StatusCode::METHOD_NOT_ALLOWED, "PUT or DELETE\n"),
        };
        match done {
            Ok(()) => http::empty(StatusCode::OK),
            Err(refused) => http::json(StatusCode::INTERNAL_SERVER_ERROR, &refused.to_string()),
        }
    }
}
