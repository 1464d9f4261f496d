//! The API over HTTP (spec/spiderpool.md 5): paths, required keys, statuses and bodies as the replaced agent has them.

mod body;

use std::sync::Arc;

use bytes::Bytes;
use polynic_runtime::http::{self, Answer, Handler, Method, Request, StatusCode};
use polynic_wire::BASE_PATH;
use polynic_wire::messages::{PodIdentity, Refusal};
use serde::Serialize;

use super::{Refused, Service};

/// Serves the API.
pub struct Api(pub Arc<Service>);

impl Handler for Api {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        match self.route(&request).await {
            Ok(answer) => answer,
            Err(Problem::Refused(refused)) => {
                let status = StatusCode::from_u16(refused.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                http::json(status, &refused.message)
            }
            Err(Problem::Request(status, refusal)) => http::json(status, &refusal),
        }
    }
}

/// Why a request is not served.
pub(crate) enum Problem {
    /// The service says so: a bare text.
    Refused(Refused),
    /// The request is wrong: an object.
    Request(StatusCode, Refusal),
}

impl Problem {
    fn request(status: StatusCode, code: u32, message: String) -> Self {
        Self::Request(status, Refusal { code, message })
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Api {
    async fn route(&self, request: &Request<Bytes>) -> Result<Answer, Problem> {
        let path = request.uri().path();
        let method = request.method();
        let body = request.body();
        match (method, path.strip_prefix(BASE_PATH).unwrap_or_default()) {
            (&Method::GET, "/ipam/healthy") => done(self.0.healthy()),
            (&Method::POST, "/ipam/ip") => answer(self.0.add(&body::read(body, body::ADD)?).await),
            (&Method::DELETE, "/ipam/ip") => done(self.0.release(&body::read(body, body::DEL)?).await),
            (&Method::POST, "/ipam/ips") => Ok(http::empty(StatusCode::OK)),
            (&Method::DELETE, "/ipam/ips") => {
                done(self.0.release_batch(&body::read(body, body::BATCH)?).await)
            }
            (&Method::GET, "/coordinator/config") => {
                answer(self.0.coordinator_config(&body::read(body, body::POD)?).await)
            }
            (&Method::GET, "/workloadendpoint") => {
                let pod: PodIdentity = body::query(request.uri().query().unwrap_or_default())?;
                answer(self.0.workload_endpoint(&pod).await)
            }
            (_, "/ipam/healthy" | "/ipam/ip" | "/ipam/ips" | "/coordinator/config" | "/workloadendpoint") => {
                let message = format!("method {method} is not allowed");
                Err(Problem::request(StatusCode::METHOD_NOT_ALLOWED, 405, message))
            }
            _ => Err(Problem::request(StatusCode::NOT_FOUND, 404, format!("path {path} was not found"))),
        }
    }
}

fn done(outcome: Result<(), Refused>) -> Result<Answer, Problem> {
    outcome?;
    Ok(http::empty(StatusCode::OK))
}

fn answer<T: Serialize>(outcome: Result<T, Refused>) -> Result<Answer, Problem> {
    Ok(http::json(StatusCode::OK, &outcome?))
}
