//! HTTP over the verbs: who asks, for what, in which form; answers and errors as JSON. Nothing here decides about objects.

mod authenticate;
mod body;
mod discovery;
mod documents;
mod incoming;
mod listing;
mod negotiate;
mod openapi;
mod options;
mod query;
mod request;
mod reviews;
mod route;
mod streams;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WARNING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::api::Api;
use crate::status::Status;
use crate::warning;

pub(crate) use self::authenticate::Authenticator;
pub(crate) use self::body::Body;
pub(crate) use self::streams::Streams;
pub use self::streams::{Connecting, Kubelets};

use self::reviews::Reviewer;
use self::route::Route;

const JSON: &str = "application/json";

/// Answers requests; shared by all connections.
pub(crate) struct Service {
    api: Arc<Api>,
    authenticator: Authenticator,
    hashes: openapi::Hashes,
    streams: Streams,
}

/// An answer that is not an error.
pub(crate) struct Answer {
    code: StatusCode,
    media_type: &'static str,
    headers: HeaderMap,
    body: Body,
}

impl Answer {
    fn json(code: StatusCode, body: Bytes) -> Self {
        Self { code, media_type: JSON, headers: HeaderMap::new(), body: Body::full(body) }
    }

    fn value(code: StatusCode, value: &Value) -> Self {
        Self::json(code, value.to_string().into())
    }
}

impl Service {
    pub(crate) fn new(api: Arc<Api>, authenticator: Authenticator, streams: Streams) -> Self {
        Self { api, authenticator, hashes: openapi::Hashes::default(), streams }
    }

    /// Answers one request; errors become Status objects.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if let Ok(Route::Resource(path)) = Route::parse(uri.path())
            && Streams::are_meant(&path)
            && self.authenticator.user(&self.api, &request).is_some()
        {
            let answer = self.streams.answer(&self.api, &path, request).await;
            return answer.unwrap_or_else(|status| self::response(failure(&status)));
        }
        let (answer, warnings) = warning::collect(self.answer(request)).await;
        let answer = answer.unwrap_or_else(|status| failure(&status));
        tracing::debug!(%method, %uri, code = answer.code.as_u16(), "request");
        let mut response = self::response(answer);
        for text in &warnings {
            if let Ok(value) = HeaderValue::from_str(&warning::header(text)) {
                response.headers_mut().append(WARNING, value);
            }
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Status> {
        let route = Route::parse(request.uri().path())?;
        let user = self.authenticator.user(&self.api, &request);
        if !route.is_public() && user.is_none() {
            return Err(Status::unauthorized());
        }
        let Route::Resource(path) = route else {
            if request.method() != Method::GET && route != Route::Unknown {
                return Err(Status::method_not_allowed());
            }
            if route == Route::PublicKeys {
                return Ok(Answer::value(StatusCode::OK, &self.authenticator.signer().public_keys()));
            }
            return documents::answer(&self.api, &self.hashes, &route, &request);
        };
        let kinds = self.api.registry().snapshot();
        if !kinds.iter().any(|kind| kind.group == path.group && kind.version == path.version) {
            return Ok(documents::no_page());
        }
        let reviewer =
            Reviewer { api: &self.api, authenticator: &self.authenticator, user: &user.unwrap_or_default() };
        request::answer(&self.api, &reviewer, path, request).await
    }
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.code;
    *response.headers_mut() = answer.headers;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.media_type));
    response
}

fn failure(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::value(code, &status.to_json())
}
