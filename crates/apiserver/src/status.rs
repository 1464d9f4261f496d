//! Errors as Kubernetes clients read them: one HTTP code, one machine-readable reason, one sentence.
//!
//! Clients decide on `reason` and `details`, people read `message`; the texts have the shape of the real server's
//! (`k8s.io/apimachinery/pkg/api/errors`), because programs exist that match on them. Knows nothing of HTTP bodies.

use std::fmt;

use serde_json::{Value, json};

use crate::go;

/// One wrong field of an object, as listed under `details.causes` of a 422 answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field, such as `spec.containers[0].name`.
    pub field: String,
    /// Machine-readable reason, such as `FieldValueRequired`.
    pub reason: &'static str,
    /// What is wrong, without the field's path.
    pub message: String,
}

impl Cause {
    /// A field that must be there is missing.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let colon = if detail.is_empty() { "" } else { ": " };
        let message = format!("Required value{colon}{detail}");
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    /// A field holds `value`, which is not allowed for the reason `detail`.
    pub fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", go::quote(value));
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    /// The same for a value that is no string, printed as JSON.
    pub fn invalid_value(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", go::shown(value));
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    /// A field holds a value that is none of `allowed`.
    pub fn not_supported(field: impl Into<String>, value: &Value, allowed: &[&str]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|value| go::quote(value)).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", go::shown(value), allowed.join(", "));
        Self { field: field.into(), reason: "FieldValueNotSupported", message }
    }

    /// A value is there already, elsewhere.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", go::shown(value));
        Self { field: field.into(), reason: "FieldValueDuplicate", message }
    }

    /// Causes in one text: each once, brackets around several.
    pub fn listed(causes: &[Self]) -> String {
        let mut list: Vec<String> = Vec::new();
        for line in causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)) {
            if !list.contains(&line) {
                list.push(line);
            }
        }
        if list.len() == 1 { list.concat() } else { format!("[{}]", list.join(", ")) }
    }

    /// A field may not be set, or not be changed, in this situation.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {detail}") }
    }
}

/// What an error is about: group, resource (or kind) and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// API group; empty for the core group.
    pub group: String,
    /// The plural resource name, or for 422 answers the kind.
    pub kind: String,
    /// Name of the object; empty when the error is about no single object.
    pub name: String,
}

impl Subject {
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }
}

/// An answer of kind `Status` that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// The object concerned, if one is.
    pub subject: Option<Box<Subject>>,
    /// Field errors of a 422 answer.
    pub causes: Vec<Cause>,
    /// Seconds after which a retry is sensible.
    pub retry_after: Option<u32>,
    /// The whole answer where somebody else worded it, such as an admission webhook.
    pub verbatim: Option<Box<Value>>,
}

impl Status {
    /// An error without a subject.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            subject: None,
            causes: Vec::new(),
            retry_after: None,
            verbatim: None,
        }
    }

    fn about(code: u16, reason: &'static str, message: String, subject: Subject) -> Self {
        Self { subject: Some(Box::new(subject)), ..Self::new(code, reason, message) }
    }

    /// 400: the request itself makes no sense.
    pub fn bad_request(message: impl fmt::Display) -> Self {
        Self::new(400, "BadRequest", message.to_string())
    }

    /// 401: no credentials, or wrong ones.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: understood, and not allowed for the reason `why`.
    pub fn forbidden(subject: Subject, why: &str) -> Self {
        let message = format!("{} {:?} is forbidden: {why}", subject.qualified(), subject.name);
        Self::about(403, "Forbidden", message, subject)
    }

    /// 403 for what the user may not do; without a name where it is about no single object.
    pub fn forbidden_to(subject: Subject, why: &str) -> Self {
        let named = if subject.name.is_empty() { String::new() } else { format!(" {:?}", subject.name) };
        let what = if subject.kind.is_empty() {
            String::new()
        } else {
            format!("{}{named} is ", subject.qualified())
        };
        let message = format!("{what}forbidden: {why}");
        Self::about(403, "Forbidden", message, subject)
    }

    /// 404 for an object.
    pub fn not_found(subject: Subject) -> Self {
        let message = format!("{} {:?} not found", subject.qualified(), subject.name);
        Self::about(404, "NotFound", message, subject)
    }

    /// 404 for a path that no resource answers to.
    pub fn no_such_path() -> Self {
        Self::about(
            404,
            "NotFound",
            "the server could not find the requested resource".into(),
            Subject::default(),
        )
    }

    /// 405: the resource exists and does not do this.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::about(405, "MethodNotAllowed", message.into(), Subject::default())
    }

    /// 406: none of the media types that the client accepts can be produced.
    pub fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/json;stream=watch";
        Self::about(406, "NotAcceptable", message.into(), Subject::default())
    }

    /// 409: an object of this name is there already.
    pub fn already_exists(subject: Subject) -> Self {
        let message = format!("{} {:?} already exists", subject.qualified(), subject.name);
        Self::about(409, "AlreadyExists", message, subject)
    }

    /// 409: the object is no longer what the client believes.
    pub fn conflict(subject: Subject, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {:?}: {why}", subject.qualified(), subject.name);
        Self::about(409, "Conflict", message, subject)
    }

    /// 409 for a stale resourceVersion.
    pub fn modified(subject: Subject) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(subject, why)
    }

    /// 410: the asked-for history is no longer held.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504: the asked-for revision is not reached yet.
    pub fn too_large_revision(message: impl Into<String>) -> Self {
        let cause = Cause {
            field: String::new(),
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".into(),
        };
        let message = format!("Timeout: {}", message.into());
        Self { causes: vec![cause], retry_after: Some(1), ..Self::new(504, "Timeout", message) }
    }

    /// 413: the body is longer than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's media type is none of `accepted`.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {list}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 415 where no word is lost about what else would do.
    pub fn unknown_media_type() -> Self {
        let message = "415: Unsupported Media Type";
        Self::about(415, "UnsupportedMediaType", message.into(), Subject::default())
    }

    /// 422: fields of the object are wrong. `subject.kind` is the kind here, not the resource.
    pub fn invalid(subject: Subject, causes: Vec<Cause>) -> Self {
        let text = Cause::listed(&causes);
        let message = format!("{} {:?} is invalid: {text}", subject.qualified(), subject.name);
        Self { causes, ..Self::about(422, "Invalid", message, subject) }
    }

    /// 500: our fault.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let cause = Cause { field: String::new(), reason: "", message: cause.to_string() };
        let message = format!("Internal error occurred: {}", cause.message);
        Self { causes: vec![cause], ..Self::new(500, "InternalError", message) }
    }

    /// The answer as a JSON object of kind `Status`.
    pub fn to_json(&self) -> Value {
        if let Some(body) = &self.verbatim {
            return Value::clone(body);
        }
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        let details = self.details();
        if self.subject.is_some() || details.as_object().is_some_and(|d| !d.is_empty()) {
            body["details"] = details;
        }
        body
    }

    fn details(&self) -> Value {
        let mut details = json!({});
        if let Some(subject) = &self.subject {
            for (key, value) in [("name", &subject.name), ("group", &subject.group), ("kind", &subject.kind)]
            {
                if !value.is_empty() {
                    details[key] = json!(value);
                }
            }
        }
        if !self.causes.is_empty() {
            let row = |c: &Cause| {
                let mut row = json!({"message": c.message});
                for (key, value) in [("reason", c.reason), ("field", c.field.as_str())] {
                    if !value.is_empty() {
                        row[key] = json!(value);
                    }
                }
                row
            };
            details["causes"] = self.causes.iter().map(row).collect();
        }
        if let Some(seconds) = self.retry_after {
            details["retryAfterSeconds"] = json!(seconds);
        }
        details
    }
}

/// The body that answers a deletion which left nothing behind.
pub fn deleted(subject: &Subject, uid: &str) -> Value {
    let mut details = json!({"name": subject.name, "kind": subject.kind, "uid": uid});
    if !subject.group.is_empty() {
        details["group"] = json!(subject.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Subject {
        Subject { group: String::new(), kind: "pods".into(), name: "x".into() }
    }

    #[test]
    fn not_found_reads_like_the_real_servers() {
        let body = Status::not_found(pod()).to_json();
        assert_eq!(body["message"], "pods \"x\" not found");
        assert_eq!(body["details"], json!({"name": "x", "kind": "pods"}));
        assert_eq!((body["reason"].as_str(), body["code"].as_u64()), (Some("NotFound"), Some(404)));
    }

    #[test]
    fn a_group_qualifies_the_resource() {
        let subject = Subject { group: "k8s.cni.cncf.io".into(), kind: "nads".into(), name: "a".into() };
        assert_eq!(Status::already_exists(subject).message, "nads.k8s.cni.cncf.io \"a\" already exists");
    }

    #[test]
    fn one_cause_stands_alone_and_several_stand_in_brackets() {
        let one = Status::invalid(
            pod(),
            vec![Cause::required("metadata.name", "name or generateName is required")],
        );
        let text = "metadata.name: Required value: name or generateName is required";
        assert_eq!(one.message, format!("pods \"x\" is invalid: {text}"));
        let two = vec![Cause::required("a", ""), Cause::forbidden("b", "no"), Cause::required("a", "")];
        let two = Status::invalid(pod(), two);
        assert_eq!(two.message, "pods \"x\" is invalid: [a: Required value, b: Forbidden: no]");
        assert_eq!(two.to_json()["details"]["causes"][1]["field"], "b");
    }
}
