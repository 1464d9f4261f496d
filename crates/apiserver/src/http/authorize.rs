//! From a request to what it wants to do, and whether its user may: RBAC, where the server enforces it.

use hyper::header::HeaderName;
use hyper::{HeaderMap, Method};

use super::query::Query;
use super::route::{ResourcePath, Route};
use crate::access::{Attributes, User};
use crate::api::Api;
use crate::status::{Status, Subject};

const IMPERSONATED_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATED_GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const ACCOUNT: &str = "system:serviceaccount:";

/// Who may do what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Everybody whom the server knows may do everything.
    #[default]
    AlwaysAllow,
    /// What roles grant, and nothing else; who comes without a token is `system:anonymous`. Nobody may give what they have not.
    Rbac,
}

/// What a request wants to do.
pub(super) fn wanted(method: &Method, path: &str, route: &Route, query: &Query) -> Attributes {
    match route {
        Route::Resource(resource) => of_resource(method, resource, query),
        _ => Attributes {
            verb: method.as_str().to_lowercase(),
            path: path.to_owned(),
            ..Attributes::default()
        },
    }
}

fn of_resource(method: &Method, path: &ResourcePath, query: &Query) -> Attributes {
    let slash = if path.subresource.is_empty() { "" } else { "/" };
    // A namespace is in itself, so that roles in it can grant something about it.
    let is_namespace = path.plural == "namespaces" && !path.name.is_empty();
    let verb = verb(method, path, query);
    let selected = query.get("fieldSelector");
    let selected = selected.split(',').find_map(|term| term.strip_prefix("metadata.name="));
    let name = selected.map(|name| name.trim_start_matches('=')).filter(|_| path.name.is_empty());
    Attributes {
        verb: verb.to_owned(),
        group: path.group.clone(),
        resource: format!("{}{slash}{}", path.plural, path.subresource),
        name: name.unwrap_or(&path.name).to_owned(),
        namespace: if is_namespace { path.name.clone() } else { path.namespace.clone() },
        path: String::new(),
    }
}

fn verb(method: &Method, path: &ResourcePath, query: &Query) -> &'static str {
    let is_watch = path.is_watched || !["", "false", "0"].contains(&query.get("watch"));
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if path.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ if is_watch => "watch",
        _ if path.name.is_empty() => "list",
        _ => "get",
    }
}

/// Refuses what no role grants to `user`.
pub(super) fn authorize(api: &Api, user: &User, wanted: &Attributes) -> Result<(), Status> {
    let decision = api.decide(user, wanted)?;
    if decision.allowed { Ok(()) } else { Err(refusal(user, wanted, &decision.reason)) }
}

/// Refuses to open what [`also_wanted`] is about: in the real server's words, which say less about it.
pub(super) fn authorize_opening(api: &Api, user: &User, wanted: &Attributes) -> Result<(), Status> {
    let decision = api.decide(user, wanted)?;
    let kind = wanted.resource.split('/').next().unwrap_or_default();
    let subject = Subject { group: wanted.group.clone(), kind: kind.to_owned(), name: wanted.name.clone() };
    if decision.allowed { Ok(()) } else { Err(Status::forbidden(subject, &decision.reason)) }
}

/// What else a request must be allowed: to run something in a pod is to create, whichever method opens the connection.
pub(super) fn also_wanted(method: &Method, path: &ResourcePath, wanted: &Attributes) -> Option<Attributes> {
    let opens =
        path.plural == "pods" && ["attach", "exec", "portforward"].contains(&path.subresource.as_str());
    (opens && *method == Method::GET).then(|| Attributes { verb: "create".into(), ..wanted.clone() })
}

/// Refuses to speak for somebody whom no role lets `user` speak for. `headers` say who that is.
pub(super) fn authorize_impersonation(api: &Api, user: &User, headers: &HeaderMap) -> Result<(), Status> {
    for (header, resource) in [(IMPERSONATED_USER, "users"), (IMPERSONATED_GROUP, "groups")] {
        for name in headers.get_all(header).iter().filter_map(|value| value.to_str().ok()) {
            authorize(api, user, &impersonating(resource, name))?;
        }
    }
    Ok(())
}

fn impersonating(resource: &str, name: &str) -> Attributes {
    let account = name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
    let (resource, namespace, name) = match account {
        Some((namespace, name)) if resource == "users" => ("serviceaccounts", namespace, name),
        _ => (resource, "", name),
    };
    Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ..Attributes::default()
    }
}

fn refusal(user: &User, wanted: &Attributes, reason: &str) -> Status {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    if !wanted.path.is_empty() {
        let why = format!("User {:?} cannot {} path {:?}{reason}", user.name, wanted.verb, wanted.path);
        return Status::forbidden_to(Subject::default(), &why);
    }
    let scope = match wanted.namespace.as_str() {
        _ if wanted.resource.starts_with("namespaces") && wanted.name.is_empty() => {
            "at the cluster scope".to_owned()
        }
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {scope}{reason}",
        user.name, wanted.verb, wanted.resource, wanted.group
    );
    let kind = wanted.resource.split('/').next().unwrap_or_default();
    let subject = Subject { group: wanted.group.clone(), kind: kind.to_owned(), name: wanted.name.clone() };
    Status::forbidden_to(subject, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, query: &str) -> String {
        let wanted = wanted(&method, path, &Route::parse(path).unwrap(), &Query::parse(Some(query)));
        let Attributes { verb, group, resource, name, namespace, path } = wanted;
        [verb, group, resource, name, namespace, path].join("|")
    }

    #[test]
    fn requests_are_verbs_on_resources_or_on_paths() {
        let web = "/apis/apps/v1/namespaces/a/deployments/web";
        assert_eq!(asked(Method::GET, web, ""), "get|apps|deployments|web|a|");
        assert_eq!(asked(Method::PATCH, &format!("{web}/scale"), ""), "patch|apps|deployments/scale|web|a|");
        assert_eq!(asked(Method::GET, "/api/v1/pods", "watch=true"), "watch||pods|||");
        assert_eq!(asked(Method::GET, "/api/v1/pods", "watch=false"), "list||pods|||");
        assert_eq!(asked(Method::GET, "/api/v1/watch/pods", ""), "watch||pods|||");
        assert_eq!(asked(Method::DELETE, "/api/v1/namespaces/a/pods", ""), "deletecollection||pods||a|");
        assert_eq!(asked(Method::GET, "/api/v1/namespaces/a", ""), "get||namespaces|a|a|");
        assert_eq!(asked(Method::GET, "/api/v1/pods", "fieldSelector=metadata.name%3Dp"), "list||pods|p||");
        assert_eq!(asked(Method::GET, "/metrics", ""), "get|||||/metrics");
    }

    #[test]
    fn to_speak_for_an_account_is_asked_of_the_account() {
        let account = impersonating("users", "system:serviceaccount:kube-system:robot");
        assert_eq!(
            (account.resource.as_str(), account.namespace.as_str()),
            ("serviceaccounts", "kube-system")
        );
        assert_eq!(impersonating("groups", "system:masters").resource, "groups");
    }

    #[test]
    fn to_run_something_in_a_pod_is_to_create() {
        let also = |method: Method, path: &str| {
            let Ok(Route::Resource(resource)) = Route::parse(path) else { panic!("{path}") };
            let wanted = of_resource(&method, &resource, &Query::parse(None));
            also_wanted(&method, &resource, &wanted).map(|wanted| wanted.verb)
        };
        assert_eq!(also(Method::GET, "/api/v1/namespaces/a/pods/p/exec").as_deref(), Some("create"));
        assert_eq!(also(Method::POST, "/api/v1/namespaces/a/pods/p/exec"), None);
        assert_eq!(also(Method::GET, "/api/v1/namespaces/a/pods/p/log"), None);
    }
}
