//! HTTP over the verbs: who asks, for what, in which form; answers and errors as JSON. Nothing here decides about objects.

mod body;
mod discovery;
mod incoming;
mod listing;
mod negotiate;
mod openapi;
mod options;
mod query;
mod request;
mod route;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WARNING};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::api::Api;
use crate::status::Status;
use crate::warning;

pub(crate) use self::body::Body;

use self::route::Route;

const JSON: &str = "application/json";

/// Answers requests; shared by all connections.
pub(crate) struct Service {
    api: Arc<Api>,
    /// The whole value that an Authorization header must have.
    authorization: String,
}

/// An answer that is not an error.
pub(crate) struct Answer {
    code: StatusCode,
    media_type: &'static str,
    body: Body,
}

impl Answer {
    fn json(code: StatusCode, body: Bytes) -> Self {
        Self { code, media_type: JSON, body: Body::full(body) }
    }

    fn value(code: StatusCode, value: &Value) -> Self {
        Self::json(code, value.to_string().into())
    }
}

impl Service {
    pub(crate) fn new(api: Arc<Api>, token: &str) -> Self {
        Self { api, authorization: format!("Bearer {token}") }
    }

    /// Answers one request; errors become Status objects.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (answer, warnings) = warning::collect(self.answer(request)).await;
        let answer = answer.unwrap_or_else(|status| failure(&status));
        tracing::debug!(%method, %uri, code = answer.code.as_u16(), "request");
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.code;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
        for text in &warnings {
            if let Ok(value) = HeaderValue::from_str(&warning::header(text)) {
                response.headers_mut().append(WARNING, value);
            }
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Status> {
        let route = Route::parse(request.uri().path())?;
        if !route.is_public() && !self.is_authenticated(&request) {
            return Err(Status::unauthorized());
        }
        let Route::Resource(path) = route else {
            if request.method() != Method::GET {
                return Err(Status::method_not_allowed());
            }
            return self.document(&route, &request);
        };
        request::answer(&self.api, path, request).await
    }

    /// Compares in a time that does not depend on where the first difference is.
    fn is_authenticated<B>(&self, request: &Request<B>) -> bool {
        let Some(given) = request.headers().get(AUTHORIZATION) else { return false };
        let (given, wanted) = (given.as_bytes(), self.authorization.as_bytes());
        given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }

    /// Everything that is not an object: health, version, discovery, schemas.
    fn document<B>(&self, route: &Route, request: &Request<B>) -> Result<Answer, Status> {
        let kinds = self.api.registry().snapshot();
        let aggregated = negotiate::wants_aggregated_discovery(request.headers());
        let (media_type, value) = match route {
            Route::Healthy => {
                return Ok(Answer {
                    code: StatusCode::OK,
                    media_type: "text/plain",
                    body: Body::full("ok".into()),
                });
            }
            Route::Version => (JSON, version()),
            Route::Core if aggregated => (discovery::AGGREGATED, discovery::aggregated(&kinds, true)),
            Route::Groups if aggregated => (discovery::AGGREGATED, discovery::aggregated(&kinds, false)),
            Route::Core => (JSON, discovery::core_versions(&host(request))),
            Route::Groups => (JSON, discovery::groups(&kinds)),
            Route::Group(group) => (JSON, discovery::group(&kinds, group).ok_or_else(Status::no_such_path)?),
            Route::Kinds(group, version) => {
                (JSON, discovery::kinds(&kinds, group, version).ok_or_else(Status::no_such_path)?)
            }
            Route::Schemas => (JSON, openapi::index(&kinds)),
            Route::Schema(group, version) => {
                (JSON, openapi::document(&kinds, group, version).ok_or_else(Status::no_such_path)?)
            }
            Route::Resource(_) => return Err(Status::no_such_path()),
        };
        Ok(Answer { code: StatusCode::OK, media_type, body: Body::full(value.to_string().into()) })
    }
}

/// The address that the client used.
fn host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(hyper::header::HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(ToString::to_string);
    authority.or_else(|| header.map(str::to_owned)).unwrap_or_default()
}

fn failure(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::value(code, &status.to_json())
}

/// The Kubernetes release whose behaviour this server follows; clients choose features by it.
fn version() -> Value {
    json!({
        "major": "1", "minor": "35", "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "34", "gitVersion": "v1.35.4+polynic", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}
