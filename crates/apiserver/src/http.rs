//! HTTP over the verbs: who asks, for what, in which form; answers and errors as JSON. Nothing here decides about objects.

mod authenticate;
mod authorize;
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

use crate::access::User;
use crate::api::Api;
use crate::status::Status;
use crate::warning;

pub(crate) use self::authenticate::Authenticator;
pub use self::authorize::Authorization;
pub(crate) use self::body::Body;
pub(crate) use self::streams::Streams;
pub use self::streams::{Connecting, Kubelets};

use self::query::Query;
use self::reviews::Reviewer;
use self::route::Route;

const JSON: &str = "application/json";

/// Answers requests; shared by all connections.
pub(crate) struct Service {
    api: Arc<Api>,
    authenticator: Authenticator,
    authorization: Authorization,
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
    pub(crate) fn new(
        api: Arc<Api>,
        authenticator: Authenticator,
        authorization: Authorization,
        streams: Streams,
    ) -> Self {
        Self { api, authenticator, authorization, hashes: openapi::Hashes::default(), streams }
    }

    /// Answers one request; errors become Status objects.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if let Ok(Route::Resource(path)) = Route::parse(uri.path())
            && Streams::are_meant(&path)
        {
            let answer = match self.admit(&Route::Resource(path.clone()), &request) {
                Ok(user) => self.streams.answer(&self.api, &path, request, &user).await,
                Err(refused) => Err(refused),
            };
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

    /// The user for whom the request speaks; nobody for what anybody is told.
    fn admit<B>(&self, route: &Route, request: &Request<B>) -> Result<User, Status> {
        let requester = match self.authenticator.user(&self.api, request) {
            Some(user) => user,
            None if self.authorization == Authorization::Rbac && !authenticate::has_token(request) => {
                User::anonymous()
            }
            None if self.authorization == Authorization::AlwaysAllow && route.is_public() => {
                return Ok(User::default());
            }
            None => return Err(Status::unauthorized()),
        };
        let spoken_for = authenticate::spoken_for(request.headers());
        if self.authorization == Authorization::Rbac {
            if spoken_for.is_some() {
                authorize::authorize_impersonation(&self.api, &requester, request.headers())?;
            }
            self.authorize(spoken_for.as_ref().unwrap_or(&requester), route, request)?;
        }
        Ok(spoken_for.unwrap_or(requester))
    }

    fn authorize<B>(&self, user: &User, route: &Route, request: &Request<B>) -> Result<(), Status> {
        let query = Query::parse(request.uri().query());
        let wanted = authorize::wanted(request.method(), request.uri().path(), route, &query);
        authorize::authorize(&self.api, user, &wanted)?;
        if let Route::Resource(path) = route
            && let Some(also) = authorize::also_wanted(request.method(), path, &wanted)
        {
            authorize::authorize_opening(&self.api, user, &also)?;
        }
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Status> {
        let route = Route::parse(request.uri().path())?;
        let user = self.admit(&route, &request)?;
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
        let reviewer = Reviewer {
            api: &self.api,
            authenticator: &self.authenticator,
            user: &user,
            authorization: self.authorization,
        };
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
