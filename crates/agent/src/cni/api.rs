//! The endpoint over HTTP (spec/multus.md 13.6): paths, methods, statuses and bodies as the replaced daemon has them.

use std::sync::Arc;

use bytes::Bytes;
use polynic_runtime::Shutdown;
use polynic_runtime::http::{self, Answer, Handler, Method, Request, StatusCode};
use polynic_wire::multus::{self, CniAnswer, CniRequest};
use serde_json::Value;

use super::endpoint::{Endpoint, Refusal};

/// Serves the endpoint.
pub struct Api {
    endpoint: Arc<Endpoint>,
    /// New pods are sent away from then on.
    ending: Shutdown,
}

impl Api {
    /// The endpoint's API; it is not ready any more once `ending` is triggered, but serves on.
    pub fn new(endpoint: Arc<Endpoint>, ending: Shutdown) -> Self {
        Self { endpoint, ending }
    }

    async fn route(&self, handler: &str, request: &Request<Bytes>) -> Answer {
        let method = request.method();
        match handler {
            multus::CNI | multus::DELEGATE if method == Method::POST => {
                self.call(handler, request.body()).await
            }
            multus::HEALTHZ if is_probe(method) => http::empty(StatusCode::OK),
            multus::READYZ if is_probe(method) && self.ending.is_triggered() => {
                http::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
            multus::READYZ if is_probe(method) => http::empty(StatusCode::OK),
            NOT_FOUND => http::empty(StatusCode::NOT_FOUND),
            _ => http::text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n"),
        }
    }

    async fn call(&self, handler: &str, body: &[u8]) -> Answer {
        let request: CniRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(why) => return bad(format!("failed to unmarshal the request: {why}")),
        };
        let outcome = match handler {
            multus::DELEGATE => self.endpoint.delegate(request).await,
            _ => self.endpoint.cni(request).await,
        };
        match outcome {
            Ok(Some(result)) => http::json(StatusCode::OK, &CniAnswer { result }),
            Ok(None) => http::empty(StatusCode::OK),
            Err(Refusal::Object(error)) => http::json(StatusCode::BAD_REQUEST, &object(&error)),
            Err(Refusal::Text(text)) => bad(text),
            Err(Refusal::Defect(text)) => http::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n")),
        }
    }
}

/// What paths that nobody serves are counted as.
const NOT_FOUND: &str = "NotFound";

impl Handler for Api {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        let known = [multus::CNI, multus::DELEGATE, multus::HEALTHZ, multus::READYZ];
        let handler = known.into_iter().find(|path| *path == request.uri().path()).unwrap_or(NOT_FOUND);
        let answer = self.route(handler, &request).await;
        self.endpoint.metrics().answered(handler, answer.status().as_u16(), request.method().as_str());
        answer
    }
}

fn is_probe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::POST)
}

fn bad(text: String) -> Answer {
    http::text(StatusCode::BAD_REQUEST, format!("{text}\n"))
}

fn object(error: &polynic_cni::Error) -> Value {
    serde_json::from_str(&error.to_json()).unwrap_or_default()
}
