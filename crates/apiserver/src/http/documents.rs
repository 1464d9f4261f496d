//! What is asked for besides objects: health, version, discovery, schemas, a few numbers.

use std::sync::Arc;

use hyper::header::{
    CACHE_CONTROL, ETAG, EXPIRES, HOST, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::openapi::{Document, Hashes};
use super::route::Route;
use super::{Answer, JSON, discovery, negotiate, openapi};
use crate::api::Api;
use crate::resource::Snapshot;
use crate::status::Status;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A date that never comes, for what never changes.
const NEVER: &str = "Fri, 31 Dec 9999 23:59:59 GMT";
/// What health is made of.
const CHECKS: [&str; 3] = ["ping", "log", "etcd"];

/// The answer to a document's route.
pub(super) fn answer<B>(
    api: &Api,
    hashes: &Hashes,
    route: &Route,
    request: &Request<B>,
) -> Result<Answer, Status> {
    let kinds = api.registry().snapshot();
    let aggregated = negotiate::wants_aggregated_discovery(request.headers());
    let value = match route {
        Route::Healthy(check) => return Ok(health(check, request)),
        Route::Metrics => return Ok(metrics(&kinds)),
        Route::Unknown | Route::PublicKeys | Route::Resource(_) => return Ok(no_page()),
        Route::Schema(group, version) => return Ok(schema(&kinds, (group, version), request)),
        Route::AllSchemas => return Ok(all_schemas(&kinds, request)),
        Route::Core if aggregated => return Ok(whole(&discovery::aggregated(&kinds, true))),
        Route::Groups if aggregated => return Ok(whole(&discovery::aggregated(&kinds, false))),
        Route::Root => root(&kinds),
        Route::Version => version(),
        Route::Core => discovery::core_versions(&host(request)),
        Route::Groups => discovery::groups(&kinds),
        Route::Group(group) => match discovery::group(&kinds, group) {
            Some(group) => group,
            None => return Ok(no_page()),
        },
        Route::Kinds(group, version) => match discovery::kinds(&kinds, group, version) {
            Some(kinds) => kinds,
            None if group.is_empty() => return Err(Status::no_such_path()),
            None => return Ok(no_page()),
        },
        Route::Schemas => hashes.index(&kinds),
    };
    Ok(Answer::value(StatusCode::OK, &value))
}

fn text(code: StatusCode, text: impl Into<bytes::Bytes>) -> Answer {
    Answer { media_type: TEXT, ..Answer::json(code, text.into()) }
}

/// What a path that nothing answers to gets.
pub(super) fn no_page() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn whole(value: &Value) -> Answer {
    Answer { media_type: discovery::AGGREGATED, ..Answer::value(StatusCode::OK, value) }
}

fn health<B>(check: &str, request: &Request<B>) -> Answer {
    if !check.is_empty() && !CHECKS.contains(&check) {
        return no_page();
    }
    let verbose = request.uri().query().is_some_and(|query| query.contains("verbose"));
    if !verbose {
        return text(StatusCode::OK, "ok");
    }
    let lines: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
    let name = request.uri().path().trim_matches('/').to_owned();
    text(StatusCode::OK, format!("{lines}{name} check passed\n"))
}

fn metrics(kinds: &Snapshot) -> Answer {
    let count = kinds.iter().filter(|kind| kind.is_stored()).count();
    let lines = format!(
        "# HELP apiserver_served_kinds Kinds of objects that this server stores.\n\
         # TYPE apiserver_served_kinds gauge\napiserver_served_kinds {count}\n"
    );
    Answer { media_type: METRICS, ..Answer::json(StatusCode::OK, lines.into()) }
}

fn root(kinds: &Snapshot) -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for kind in kinds.iter() {
        match kind.group.as_str() {
            "" => paths.push(format!("/api/{}", kind.version)),
            group => paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{}", kind.version)]),
        }
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// The address that the client used.
fn host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(ToString::to_string);
    authority.or_else(|| header.map(str::to_owned)).unwrap_or_default()
}

/// The Kubernetes release whose behaviour this server follows; clients choose features by it.
fn version() -> Value {
    json!({
        "major": "1", "minor": "35", "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "34", "gitVersion": "v1.35.4+polynic", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// The v3 document of a group and version. A client that names its hash may keep it; one that names another is sent on.
fn schema<B>(kinds: &Arc<Snapshot>, (group, version): (&str, &str), request: &Request<B>) -> Answer {
    let Some(document) = openapi::document(kinds, group, version) else { return no_page() };
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "hash").map(|(_, hash)| hash);
    match asked {
        Some(hash) if hash != document.hash => {
            let mut answer = text(StatusCode::MOVED_PERMANENTLY, "");
            set(&mut answer, LOCATION, &format!("{path}?hash={}", document.hash));
            answer
        }
        Some(_) => {
            let mut answer = tagged(document, JSON, request);
            set(&mut answer, CACHE_CONTROL, "public, immutable");
            set(&mut answer, EXPIRES, NEVER);
            answer
        }
        None => tagged(document, JSON, request),
    }
}

fn all_schemas<B>(kinds: &Snapshot, request: &Request<B>) -> Answer {
    if negotiate::wants_protobuf_schemas(request.headers()) {
        return tagged(openapi::everything_protobuf(kinds), openapi::PROTOBUF, request);
    }
    tagged(openapi::everything_json(kinds), JSON, request)
}

/// A document with the tag of its content; nothing but the tag if the client has it already.
fn tagged<B>(document: Document, media_type: &'static str, request: &Request<B>) -> Answer {
    let tag = format!("\"{}\"", document.hash);
    let known =
        request.headers().get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes() == tag.as_bytes());
    let mut answer = Answer { media_type, ..Answer::json(StatusCode::OK, document.text) };
    if known {
        answer.code = StatusCode::NOT_MODIFIED;
        answer.body = Body::full(bytes::Bytes::new());
    }
    set(&mut answer, ETAG, &tag);
    set(&mut answer, VARY, "Accept");
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers.insert(name, value);
    }
}
