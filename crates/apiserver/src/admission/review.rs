//! AdmissionReview: the question that a webhook gets, and what its answer may be. Pure.

use serde_json::{Value, json};

use super::Attributes;
use crate::json::{at, items, text};
use crate::resource::Resource;
use crate::status::Status;

/// What a webhook said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// The refusal, if it is one.
    pub(super) refusal: Option<Value>,
    /// A JSON patch; null for none.
    pub(super) patch: Value,
    pub(super) warnings: Vec<String>,
}

/// Which kind of webhook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Mutating,
    Validating,
}

/// The question about `attributes`, asked in the version `resource` of the kind.
pub(super) fn question(version: &str, uid: &str, attributes: &Attributes, resource: &Resource) -> Value {
    let asked = &attributes.place.resource;
    let kind = |r: &Resource| kind_of(r, attributes);
    let plural = |r: &Resource| json!({"group": r.group, "version": r.version, "resource": r.plural});
    let mut request = json!({
        "uid": uid,
        "kind": kind(resource),
        "resource": plural(resource),
        "requestKind": kind(asked),
        "requestResource": plural(asked),
        "operation": attributes.place.operation.name(),
        "userInfo": attributes.user,
        "object": in_version(&attributes.object, resource),
        "oldObject": in_version(&attributes.old, resource),
        "dryRun": attributes.dry_run,
        "options": attributes.options,
    });
    let optional = [
        ("name", attributes.name.as_str()),
        ("namespace", &attributes.namespace),
        ("subResource", attributes.place.subresource),
        ("requestSubResource", attributes.place.subresource),
    ];
    for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        request[key] = json!(value);
    }
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

/// Sub-resources with a kind of their own (Scale, Binding) say so in the object.
fn kind_of(resource: &Resource, attributes: &Attributes) -> Value {
    let is_foreign = |o: &&&Value| !text(o, "kind").is_empty() && text(o, "kind") != resource.kind;
    let foreign = [&attributes.object, &attributes.old].iter().find(is_foreign).copied();
    match foreign.filter(|_| !attributes.place.subresource.is_empty()) {
        Some(object) => {
            let version = text(object, "apiVersion");
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            json!({"group": group, "version": version, "kind": text(object, "kind")})
        }
        None => json!({"group": resource.group, "version": resource.version, "kind": resource.kind}),
    }
}

/// An object of a kind in another version of it: only `apiVersion` differs.
pub(super) fn in_version(object: &Value, resource: &Resource) -> Value {
    let mut object = object.clone();
    let own = text(&object, "kind") == resource.kind;
    if own && resource.custom {
        object["apiVersion"] = json!(resource.api_version());
    }
    object
}

/// Reads the answer to the question `uid` that was asked in `version`; `Err` says what is wrong with it.
pub(super) fn verdict(version: &str, uid: &str, role: Role, review: &Value) -> Result<Verdict, String> {
    let response = at(review, "response").ok_or("webhook response was absent")?;
    if version == "v1" {
        check_v1(uid, role, review)?;
    }
    let patch = if role == Role::Mutating { patch(version, response)? } else { Value::Null };
    let warnings = items(response, "warnings").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let refusal = (response["allowed"] != true).then(|| response["status"].clone());
    Ok(Verdict { refusal, patch, warnings })
}

fn check_v1(uid: &str, role: Role, review: &Value) -> Result<(), String> {
    let response = &review["response"];
    let told = text(response, "uid");
    if told != uid {
        return Err(format!("expected response.uid={uid:?}, got {told:?}"));
    }
    let (group_version, kind) = (text(review, "apiVersion"), text(review, "kind"));
    if (group_version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
        let wanted = "admission.k8s.io/v1, Kind=AdmissionReview";
        return Err(format!("expected webhook response of {wanted}, got {group_version}, Kind={kind}"));
    }
    let (patch, patch_type) = (!text(response, "patch").is_empty(), at(response, "patchType").is_some());
    let complaint = match (role, patch, patch_type) {
        (Role::Mutating, true, false) => "webhook returned response.patch but not response.patchType",
        (Role::Mutating, false, true) => "webhook returned response.patchType but not response.patch",
        (Role::Validating, true, _) => "validating webhook may not return response.patch",
        (Role::Validating, _, true) => "validating webhook may not return response.patchType",
        _ => return Ok(()),
    };
    Err(complaint.into())
}

fn patch(version: &str, response: &Value) -> Result<Value, String> {
    use base64::Engine as _;
    let encoded = text(response, "patch");
    if encoded.is_empty() {
        return Ok(Value::Null);
    }
    let patch_type = text(response, "patchType");
    if version == "v1" && patch_type != "JSONPatch" {
        return Err(format!("unsupported patch type {patch_type:?}"));
    }
    let undecodable = |e: String| format!("received undecodable patch in webhook response: {e}");
    let raw = base64::engine::general_purpose::STANDARD.decode(encoded);
    let raw = raw.map_err(|e| undecodable(e.to_string()))?;
    serde_json::from_slice(&raw).map_err(|e| undecodable(crate::go::json_error(&raw, &e)))
}

/// The answer to a client whose request the webhook `name` refused with `status`.
pub(super) fn refused(name: &str, status: &Value) -> Status {
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text(status, "message"), text(status, "reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0).max(400);
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"});
    for key in ["reason", "details"] {
        if let Some(value) = at(status, key) {
            body[key] = value.clone();
        }
    }
    body["message"] = json!(message);
    body["code"] = json!(code);
    Status { verbatim: Some(Box::new(body)), ..Status::new(code, "", message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: Value) -> Value {
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    }

    #[test]
    fn an_answer_must_belong_to_its_question() {
        let read = |role, response: Value| verdict("v1", "u", role, &answer(response));
        assert_eq!(read(Role::Validating, json!({"uid": "u", "allowed": true})).unwrap().refusal, None);
        assert_eq!(
            read(Role::Validating, json!({"uid": "x"})).unwrap_err(),
            "expected response.uid=\"u\", got \"x\""
        );
        assert_eq!(
            verdict("v1", "u", Role::Mutating, &json!({})).unwrap_err(),
            "webhook response was absent"
        );
        let patched = json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"});
        assert_eq!(read(Role::Mutating, patched.clone()).unwrap().patch, json!([]));
        assert_eq!(
            read(Role::Validating, patched).unwrap_err(),
            "validating webhook may not return response.patch"
        );
        let half = json!({"uid": "u", "allowed": true, "patch": "W10="});
        assert_eq!(
            read(Role::Mutating, half).unwrap_err(),
            "webhook returned response.patch but not response.patchType"
        );
    }

    #[test]
    fn a_refusal_is_an_error_whatever_its_code_says() {
        let silent = refused("a.b.c", &Value::Null);
        assert_eq!(
            (silent.code, silent.message.as_str()),
            (400, "admission webhook \"a.b.c\" denied the request without explanation")
        );
        let spoken = refused("a.b.c", &json!({"code": 200, "message": "no", "reason": "Mood"}));
        assert_eq!(spoken.message, "admission webhook \"a.b.c\" denied the request: no");
        assert_eq!((&spoken.to_json()["reason"], &spoken.to_json()["code"]), (&json!("Mood"), &json!(400)));
        assert_eq!(refused("a.b.c", &json!({"code": 403})).code, 403);
    }
}
