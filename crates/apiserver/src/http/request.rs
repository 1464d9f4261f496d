//! Requests about objects: method and path to verb, body to value, value to answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::options::{self, Write};
use super::query::Query;
use super::reviews::Reviewer;
use super::route::ResourcePath;
use super::{Answer, JSON, incoming, listing, negotiate};
use crate::api::{Api, Asker, DeleteOptions, Form, Part, Target, Watch, WriteOptions};
use crate::patch::{self, PatchType};
use crate::protobuf;
use crate::resource::Resource;
use crate::status::Status;
use crate::warning;

/// Bytes that a request's body may have.
const BODY_LIMIT: usize = 3 << 20;
/// Time that a client has to send the body.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// What a verb needs to know of a request.
struct Call<'a> {
    api: &'a Arc<Api>,
    reviewer: &'a Reviewer<'a>,
    target: Target,
    query: Query,
    form: Form,
    headers: HeaderMap,
}

pub(super) async fn answer(
    api: &Arc<Api>,
    reviewer: &Reviewer<'_>,
    path: ResourcePath,
    request: Request<Incoming>,
) -> Result<Answer, Status> {
    let query = query(&path, request.uri().query());
    let form =
        negotiate::form(request.headers(), query.get("includeObject")).ok_or_else(Status::not_acceptable)?;
    let (parts, body) = request.into_parts();
    let subresource = path.subresource.clone();
    if path.is_watched && parts.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    let target = target(api, path, &parts.method)?;
    target.resource.deprecation().into_iter().for_each(warning::add);
    let call = Call { api, reviewer, target, query, form, headers: parts.headers };
    match subresource.as_str() {
        "" => call.object(&parts.method, body).await,
        "scale" if call.target.resource.scale().is_some() => call.scale(&parts.method, body).await,
        "status" if call.target.resource.status => call.status(&parts.method, body).await,
        "binding" if call.target.resource.plural == "pods" => call.binding(&parts.method, body).await,
        "eviction" if call.target.resource.plural == "pods" => call.eviction(&parts.method, body).await,
        "token" if call.target.resource.plural == "serviceaccounts" => call.token(&parts.method, body).await,
        below if let Some(part) = part(&call.target.resource, below) => {
            call.part(part, &parts.method, body).await
        }
        _ if call.target.resource.custom => {
            Err(Status::not_found(call.target.resource.subject(&call.target.name)))
        }
        _ => Err(Status::no_such_path()),
    }
}

/// The query; what a path under `/watch/` says is put the way it is said today.
fn query(path: &ResourcePath, text: Option<&str>) -> Query {
    let mut query = Query::parse(text);
    if path.is_watched {
        query.set("watch", "true");
        if !path.name.is_empty() {
            query.set("fieldSelector", &format!("metadata.name={}", path.name));
        }
    }
    query
}

/// What is written like status, through a path of its own.
fn part(resource: &Resource, below: &str) -> Option<Part> {
    let names = ["ephemeralcontainers", "resize", "finalize", "approval"];
    let name = names.into_iter().find(|name| *name == below && resource.below(name).is_some())?;
    Some(Part::Below(name))
}

fn target(api: &Api, path: ResourcePath, method: &Method) -> Result<Target, Status> {
    let kinds = api.registry().snapshot();
    let resource = kinds.find(&path.group, &path.version, &path.plural).ok_or_else(Status::no_such_path)?;
    let misplaced = !resource.namespaced && !path.namespace.is_empty();
    let homeless = resource.namespaced
        && path.namespace.is_empty()
        && (!path.name.is_empty() || *method == Method::POST);
    if misplaced || homeless {
        return Err(Status::no_such_path());
    }
    // A watch is one of a collection, even where it is to show one object.
    let name = if path.is_watched { String::new() } else { path.name };
    Ok(Target { resource: resource.clone(), namespace: path.namespace, name })
}

impl Call<'_> {
    async fn object(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        if *method != Method::POST && !self.target.resource.is_stored() {
            return Err(Status::method_not_allowed());
        }
        match (method, self.target.name.is_empty()) {
            (&Method::GET, true) if self.query.is_watch() => self.watch(),
            (&Method::GET, true) => self.list(),
            (&Method::GET, false) => self.get(),
            (&Method::POST, true) => self.create(body).await,
            (&Method::PUT, false) => self.update(Part::Main, body).await,
            (&Method::PATCH, false) => self.patch(Part::Main, body).await,
            (&Method::DELETE, false) => self.delete(body).await,
            (&Method::DELETE, true) => self.delete_collection(body).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn status(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        self.part(Part::Status, method, body).await
    }

    async fn part(&self, part: Part, method: &Method, body: Incoming) -> Result<Answer, Status> {
        match *method {
            Method::GET => self.get(),
            Method::PUT => self.update(part, body).await,
            Method::PATCH => self.patch(part, body).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn eviction(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        if *method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let eviction = self.json_body(body).await?;
        let options = self.write_options(Write::Create)?;
        Ok(Answer::value(StatusCode::CREATED, &self.api.evict(&self.target, eviction, options).await?))
    }

    async fn token(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        if *method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let request = self.json_body(body).await?;
        Ok(Answer::value(StatusCode::CREATED, &self.reviewer.token(&self.target, request)?))
    }

    async fn scale(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        let scale = match *method {
            Method::GET => self.api.get_scale(&self.target)?,
            Method::PUT => {
                let wanted = self.json_body(body).await?;
                self.api.update_scale(&self.target, wanted, self.write_options(Write::Update)?).await?
            }
            Method::PATCH => {
                let patch_type = self.patch_type()?;
                let patch = parse(&read(body).await?)?;
                self.api
                    .patch_scale(
                        &self.target,
                        (patch_type, patch),
                        self.write_options(Write::Patch(patch_type))?,
                    )
                    .await?
            }
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(Answer::value(StatusCode::OK, &scale))
    }

    async fn binding(&self, method: &Method, body: Incoming) -> Result<Answer, Status> {
        if *method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let options = self.write_options(Write::Create)?;
        let kinds = self.api.registry().snapshot();
        let kind = kinds.find("", "v1", "bindings").ok_or_else(Status::no_such_path)?;
        let body = read(body).await?;
        let binding = incoming::object(kind, self.media_type(), &body, options.validation)?;
        let bound = self.api.bind(&self.target, binding, options).await?;
        Ok(Answer::value(StatusCode::CREATED, &bound))
    }

    fn get(&self) -> Result<Answer, Status> {
        listing::revision(&self.query).map_err(|why| Status::new(500, "", why))?;
        Ok(Answer::json(StatusCode::OK, self.api.get(&self.target, self.form)?))
    }

    fn list(&self) -> Result<Answer, Status> {
        let options = listing::list(&self.query, &self.target.resource)?;
        Ok(Answer::json(StatusCode::OK, self.api.list(&self.target, &options, self.form)?))
    }

    fn watch(&self) -> Result<Answer, Status> {
        let options = listing::watch(&self.query, &self.target.resource)?;
        let watch = Watch::start(self.api.clone(), self.target.clone(), options, self.form)?;
        Ok(Answer { body: Body::watch(watch), ..Answer::json(StatusCode::OK, Bytes::new()) })
    }

    /// The options of a write of the object itself.
    fn write_options(&self, kind: Write) -> Result<WriteOptions, Status> {
        let options = options::write(&self.query, &self.headers, kind)?;
        let guard = self.reviewer.guard(&self.target)?;
        let asker = Asker { user: self.reviewer.user.info(), ..options.asker };
        Ok(WriteOptions { guard, asker, ..options })
    }

    async fn create(&self, body: Incoming) -> Result<Answer, Status> {
        let options = self.write_options(Write::Create)?;
        let mut object = self.incoming(&read(body).await?, &options)?;
        if !self.target.resource.is_stored() {
            return self.review(object, options).await;
        }
        if self.target.resource.plural == "certificatesigningrequests" {
            self.reviewer.sign(&mut object);
        }
        let created = self.api.create(&self.target, object, options).await?;
        self.show(StatusCode::CREATED, &created)
    }

    /// Kinds that answer and are not stored.
    async fn review(&self, object: Value, options: WriteOptions) -> Result<Answer, Status> {
        if let Some(answer) = self.reviewer.answer(&self.target, object.clone(), &options)? {
            return Ok(Answer::value(StatusCode::CREATED, &answer));
        }
        if self.target.resource.plural != "bindings" {
            return Err(Status::method_not_allowed());
        }
        let kinds = self.api.registry().snapshot();
        let pods = kinds.find("", "v1", "pods").ok_or_else(Status::no_such_path)?;
        let name = crate::json::text(&object, "metadata.name").to_owned();
        let target = Target { resource: pods.clone(), namespace: self.target.namespace.clone(), name };
        Ok(Answer::value(StatusCode::CREATED, &self.api.bind(&target, object, options).await?))
    }

    async fn update(&self, part: Part, body: Incoming) -> Result<Answer, Status> {
        let options = self.write_options(Write::Update)?;
        let object = self.incoming(&read(body).await?, &options)?;
        let (object, created) = self.api.update(&self.target, part, object, options).await?;
        self.show(if created { StatusCode::CREATED } else { StatusCode::OK }, &object)
    }

    async fn patch(&self, part: Part, body: Incoming) -> Result<Answer, Status> {
        let patch_type = self.patch_type()?;
        let text = read(body).await?;
        let options = self.write_options(Write::Patch(patch_type))?;
        if patch_type == PatchType::Apply {
            let config = (incoming::yaml(&text)?, self.query.flag("force"));
            let (object, created) = self.api.apply(&self.target, part, config, options).await?;
            return self.show(if created { StatusCode::CREATED } else { StatusCode::OK }, &object);
        }
        let patch = (patch_type, parse(&text)?);
        self.show(StatusCode::OK, &self.api.patch(&self.target, part, patch, options).await?)
    }

    async fn delete(&self, body: Incoming) -> Result<Answer, Status> {
        let options = self.delete_options(body).await?;
        Ok(Answer::value(StatusCode::OK, &self.api.delete(&self.target, options).await?))
    }

    async fn delete_collection(&self, body: Incoming) -> Result<Answer, Status> {
        let selector = listing::list(&self.query, &self.target.resource)?.selector;
        let options = self.delete_options(body).await?;
        let deleted = self.api.delete_collection(&self.target, selector, options).await?;
        let resource = &self.target.resource;
        let list = json!({
            "kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": {}, "items": deleted,
        });
        Ok(Answer::value(StatusCode::OK, &list))
    }

    async fn delete_options(&self, body: Incoming) -> Result<DeleteOptions, Status> {
        let text = read(body).await?;
        let options = match text.is_empty() {
            true => options::delete(&self.query, None),
            false => options::delete(&self.query, Some(&self.decoded(&text)?)),
        }?;
        let asker = Asker { user: self.reviewer.user.info(), ..options.asker };
        Ok(DeleteOptions { asker, ..options })
    }

    fn show(&self, code: StatusCode, object: &Value) -> Result<Answer, Status> {
        Ok(Answer::json(code, self.api.render(&self.target, object, self.form)?))
    }

    fn media_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn patch_type(&self) -> Result<PatchType, Status> {
        let refused = || match self.target.resource.custom {
            true => Status::unsupported_media_type(&patch::CUSTOM_MEDIA_TYPES),
            false => Status::unknown_media_type(),
        };
        PatchType::from_media_type(self.media_type()).ok_or_else(refused)
    }

    /// A body by its media type: JSON or YAML.
    fn decoded(&self, text: &[u8]) -> Result<Value, Status> {
        match self.media_type().split(';').next().unwrap_or_default().trim() {
            "" | JSON => parse(text),
            incoming::YAML => incoming::yaml(text),
            protobuf::MEDIA_TYPE => {
                protobuf::decode(text).ok_or_else(|| Status::unsupported_media_type(&incoming::BODIES))
            }
            _ => Err(Status::unsupported_media_type(&incoming::BODIES)),
        }
    }

    fn incoming(&self, body: &[u8], options: &WriteOptions) -> Result<Value, Status> {
        incoming::object(&self.target.resource, self.media_type(), body, options.validation)
    }

    async fn json_body(&self, body: Incoming) -> Result<Value, Status> {
        self.decoded(&read(body).await?)
    }
}

fn parse(text: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(text)
        .map_err(|e| Status::bad_request(format!("the body of the request is not valid JSON: {e}")))
}

async fn read(body: Incoming) -> Result<Bytes, Status> {
    let read = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, BODY_LIMIT).collect());
    let late = |_| Status::new(408, "Timeout", "the body of the request did not arrive in time");
    match read.await.map_err(late)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(BODY_LIMIT)),
        Err(error) => Err(Status::bad_request(format!("the body of the request cannot be read: {error}"))),
    }
}
