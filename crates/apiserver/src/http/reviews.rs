//! Kinds that are asked and not stored: who somebody is, what somebody may do, and tokens of service accounts.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::authenticate::Authenticator;
use super::authorize::Authorization;
use crate::access::{Attributes, Claims, Guard, ISSUER, User};
use crate::api::{Api, Target, WriteOptions};
use crate::entropy;
use crate::json::{at, child, integer, items, text};
use crate::status::{Cause, Status, Subject};
use crate::strategy::moment;

/// Seconds that a token is good for unless more or less is asked for, and at least.
const TOKEN_SECONDS: i64 = 3600;
const SHORTEST_TOKEN: i64 = 600;

/// Whom a review can ask.
pub(super) struct Reviewer<'a> {
    pub(super) api: &'a Api,
    pub(super) authenticator: &'a Authenticator,
    pub(super) user: &'a User,
    pub(super) authorization: Authorization,
}

impl Reviewer<'_> {
    /// The review with its status, by the plural of its kind; `None` for kinds that are none.
    pub(super) fn answer(
        &self,
        target: &Target,
        review: Value,
        options: &WriteOptions,
    ) -> Result<Option<Value>, Status> {
        let resource = &target.resource;
        let mut review = match resource.plural.as_str() {
            "tokenreviews"
            | "selfsubjectaccessreviews"
            | "subjectaccessreviews"
            | "localsubjectaccessreviews" => Api::unstored(target, review, options)?,
            // Their answers are new objects.
            _ => review,
        };
        review["apiVersion"] = json!(resource.api_version());
        review["kind"] = json!(resource.kind);
        let status = match resource.plural.as_str() {
            "selfsubjectreviews" => {
                child(&mut review, "metadata")["creationTimestamp"] = moment(Timestamp::now());
                json!({"userInfo": self.user.info()})
            }
            "tokenreviews" => self.token_review(&review["spec"]),
            "selfsubjectaccessreviews" => self.access(self.user, &review, resource.group.as_str())?,
            "subjectaccessreviews" | "localsubjectaccessreviews" => {
                let asked = self.asked(&review, resource.group.as_str())?;
                self.access(&asked, &review, resource.group.as_str())?
            }
            "selfsubjectrulesreviews" => self.rules(text(&review, "spec.namespace"))?,
            _ => return Ok(None),
        };
        if resource.plural == "selfsubjectrulesreviews" {
            review["spec"] = json!({});
        }
        review["status"] = status;
        Ok(Some(review))
    }

    /// Writes into a signing request who made it.
    pub(super) fn sign(&self, request: &mut Value) {
        let info = self.user.info();
        let spec = child(request, "spec");
        for key in ["username", "uid", "groups", "extra"] {
            crate::json::carry(key, &info, spec);
        }
    }

    fn token_review(&self, spec: &Value) -> Value {
        let token = text(spec, "token");
        let wanted: Vec<&str> = items(spec, "audiences").iter().filter_map(Value::as_str).collect();
        let claims = self.authenticator.claims(self.api, token);
        let own = claims.map_or_else(|| vec![ISSUER.to_owned()], |claims| claims.audiences);
        let audiences: Vec<&String> =
            own.iter().filter(|audience| wanted.is_empty() || wanted.contains(&audience.as_str())).collect();
        match self.authenticator.holder(self.api, token) {
            Some(user) if !audiences.is_empty() => {
                json!({"authenticated": true, "user": user.info(), "audiences": audiences})
            }
            Some(_) => json!({"user": {}, "error": "token audiences is invalid for the target audiences"}),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        }
    }

    /// The user whom a review is about.
    fn asked(&self, review: &Value, group: &str) -> Result<User, Status> {
        let spec = &review["spec"];
        let groups: Vec<String> =
            items(spec, "groups").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let name = text(spec, "user");
        let mut causes = subject_of_access(spec);
        if name.is_empty() && groups.is_empty() {
            let detail = "at least one of user or group must be specified";
            causes.push(Cause::invalid("spec.user", "", detail));
        }
        refuse(group, causes)?;
        Ok(User { name: name.into(), uid: text(spec, "uid").into(), groups, ..User::default() })
    }

    fn access(&self, user: &User, review: &Value, group: &str) -> Result<Value, Status> {
        let spec = &review["spec"];
        refuse(group, subject_of_access(spec))?;
        let wanted = Attributes::of_review(spec);
        let decision = self.api.decide(user, &wanted)?;
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = json!(decision.reason);
        }
        Ok(status)
    }

    /// Who watches over what the user writes at `target`, where rights are enforced.
    pub(super) fn guard(&self, target: &Target) -> Result<Option<Arc<Guard>>, Status> {
        match self.authorization {
            Authorization::AlwaysAllow => Ok(None),
            Authorization::Rbac => self.api.guard(self.user, target),
        }
    }

    fn rules(&self, namespace: &str) -> Result<Value, Status> {
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let grants = self.api.grants(self.user, namespace)?;
        let (paths, resources): (Vec<&Value>, Vec<&Value>) =
            grants.rules().partition(|rule| at(rule, "nonResourceURLs").is_some());
        let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        if let Some(error) = grants.error() {
            status["evaluationError"] = json!(error);
        }
        Ok(status)
    }

    /// A token for the service account `target`.
    pub(super) fn token(&self, target: &Target, mut request: Value) -> Result<Value, Status> {
        let account = self.api.object(target)?;
        let seconds = integer(&request, "spec.expirationSeconds").unwrap_or(TOKEN_SECONDS);
        if seconds < SHORTEST_TOKEN {
            let detail = "may not specify a duration less than 10 minutes";
            let cause = Cause::invalid_value("spec.expirationSeconds", &json!(seconds), detail);
            return Err(Status::invalid(token_request(), vec![cause]));
        }
        let audiences = match items(&request, "spec.audiences") {
            [] => vec![ISSUER.to_owned()],
            list => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        };
        let issued = Timestamp::now().as_second();
        let claims = Claims {
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            uid: text(&account, "metadata.uid").into(),
            audiences,
            issued,
            expires: issued.saturating_add(seconds),
            id: entropy::uuid().map_err(Status::internal)?,
            bound: self.bound(target, at(&request, "spec.boundObjectRef"))?,
        };
        let token = self.authenticator.signer().issue(&claims).map_err(Status::internal)?;
        let expires = Timestamp::from_second(claims.expires).map_err(Status::internal)?;
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        let metadata = json!({
            "name": target.name, "namespace": target.namespace, "uid": claims.uid, "creationTimestamp": moment(Timestamp::now()),
        });
        request["metadata"] = metadata;
        let spec = child(&mut request, "spec");
        spec["audiences"] = json!(claims.audiences);
        spec["expirationSeconds"] = json!(seconds);
        spec["boundObjectRef"] = at(spec, "boundObjectRef").cloned().unwrap_or_default();
        request["status"] = json!({"token": token, "expirationTimestamp": moment(expires)});
        Ok(request)
    }

    /// The pod that a token is bound to must be there.
    fn bound(
        &self,
        target: &Target,
        reference: Option<&Value>,
    ) -> Result<Option<(String, String, String)>, Status> {
        let Some(reference) = reference else { return Ok(None) };
        let (kind, name) = (text(reference, "kind").to_lowercase(), text(reference, "name"));
        let plural = match kind.as_str() {
            "pod" => "pods",
            "secret" => "secrets",
            _ => return Err(Status::bad_request(format!("cannot bind token to object of kind {kind:?}"))),
        };
        let subject = || Subject { kind: plural.into(), name: name.into(), ..Subject::default() };
        let uid =
            self.api.uid_of(plural, &target.namespace, name)?.ok_or_else(|| Status::not_found(subject()))?;
        let given = text(reference, "uid");
        if !given.is_empty() && given != uid {
            let why = format!(
                "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(subject(), &why));
        }
        Ok(Some((kind, name.to_owned(), uid)))
    }
}

fn token_request() -> Subject {
    Subject { group: "authentication.k8s.io".into(), kind: "TokenRequest".into(), name: String::new() }
}

/// An access review asks about a resource or about a path, never about both.
fn subject_of_access(spec: &Value) -> Vec<Cause> {
    if spec["resourceAttributes"].is_object() != spec["nonResourceAttributes"].is_object() {
        return Vec::new();
    }
    let given = &spec["resourceAttributes"];
    let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    vec![Cause::invalid_value("spec.resourceAttributes", given, detail)]
}

fn refuse(group: &str, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let subject = Subject { group: group.into(), ..Subject::default() };
    Err(Status::invalid(subject, causes))
}
