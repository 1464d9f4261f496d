//! What RBAC objects grant (`rbac.authorization.k8s.io`): roles, bound to users, groups and service accounts.

use std::sync::Arc;

use serde_json::Value;

use super::User;
use crate::json::{items, text};

/// The group of RBAC's kinds.
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io";

/// What somebody wants to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    /// `get`, `list`, ...
    pub(crate) verb: String,
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// Plural, with what is below it: `pods/log`.
    pub(crate) resource: String,
    /// Name of one object; empty for all.
    pub(crate) name: String,
    /// Namespace; empty for all.
    pub(crate) namespace: String,
    /// A path that is no resource; the other fields except the verb are empty then.
    pub(crate) path: String,
}

impl Attributes {
    /// From the spec of an access review.
    pub(crate) fn of_review(spec: &Value) -> Self {
        let own = |path: &str| text(spec, &format!("resourceAttributes.{path}")).to_owned();
        if spec["nonResourceAttributes"].is_object() {
            let own = |key: &str| text(&spec["nonResourceAttributes"], key).to_owned();
            return Self { verb: own("verb"), path: own("path"), ..Self::default() };
        }
        let below = own("subresource");
        let slash = if below.is_empty() { "" } else { "/" };
        Self {
            verb: own("verb"),
            group: own("group"),
            resource: format!("{}{slash}{below}", own("resource")),
            name: own("name"),
            namespace: own("namespace"),
            path: String::new(),
        }
    }
}

/// What an authoriser says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// True if it may be done.
    pub(crate) allowed: bool,
    /// What grants it, or what could not be found when that was looked for.
    pub(crate) reason: String,
}

/// A role, as bindings name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub(crate) kind: String,
    /// Namespace of a Role; empty for a ClusterRole.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl RoleRef {
    /// The role of a binding in `namespace`, which is empty for one of the cluster.
    pub(crate) fn of(binding: &Value, namespace: &str) -> Self {
        let kind = text(binding, "roleRef.kind").to_owned();
        let namespace = if kind == "ClusterRole" { String::new() } else { namespace.to_owned() };
        Self { kind, namespace, name: text(binding, "roleRef.name").to_owned() }
    }
}

/// A rule that holds for somebody.
#[derive(Debug, Clone)]
struct Grant {
    /// The binding that it holds by, in words.
    by: Arc<str>,
    rule: Value,
}

/// What one user is granted in one namespace, and in the whole cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    grants: Vec<Grant>,
    /// Roles that are bound to the user and are not there.
    missing: Vec<RoleRef>,
}

impl Grants {
    /// Collects them: from the bindings of the cluster first, then those of a namespace. `find` knows the rules of roles.
    pub(crate) fn collect<E>(
        user: &User,
        bindings: &[Value],
        find: impl Fn(&RoleRef) -> Result<Option<Vec<Value>>, E>,
    ) -> Result<Self, E> {
        let mut all = Self::default();
        for binding in bindings {
            let namespace = text(binding, "metadata.namespace");
            let Some(subject) = items(binding, "subjects").iter().find(|s| is_meant(s, namespace, user))
            else {
                continue;
            };
            let role = RoleRef::of(binding, namespace);
            let Some(rules) = find(&role)? else {
                all.missing.push(role);
                continue;
            };
            let by: Arc<str> = described(binding, subject).into();
            all.grants.extend(rules.into_iter().map(|rule| Grant { by: by.clone(), rule }));
        }
        Ok(all)
    }

    /// All rules.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Value> {
        self.grants.iter().map(|grant| &grant.rule)
    }

    /// Whether a rule covers `wanted`, and which.
    pub(crate) fn decide(&self, wanted: &Attributes) -> Decision {
        match self.grants.iter().find(|grant| rule_allows(&grant.rule, wanted)) {
            Some(grant) => Decision { allowed: true, reason: format!("RBAC: allowed by {}", grant.by) },
            None => Decision {
                allowed: false,
                reason: self.error().map_or_else(String::new, |error| format!("RBAC: {error}")),
            },
        }
    }

    /// What is bound and could not be found.
    pub(crate) fn error(&self) -> Option<String> {
        let mut errors: Vec<String> = Vec::new();
        for role in &self.missing {
            let error = format!("{}.{RBAC} {:?} not found", role.kind.to_lowercase(), role.name);
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        match errors.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("[{}]", several.join(", "))),
        }
    }
}

/// True if `subject`, of a binding in `namespace`, is `user`.
fn is_meant(subject: &Value, namespace: &str, user: &User) -> bool {
    let name = text(subject, "name");
    match text(subject, "kind") {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let of = Some(text(subject, "namespace")).filter(|of| !of.is_empty()).unwrap_or(namespace);
            user.name == format!("system:serviceaccount:{of}:{name}")
        }
        _ => false,
    }
}

fn described(binding: &Value, subject: &Value) -> String {
    let (namespace, name) = (text(binding, "metadata.namespace"), text(binding, "metadata.name"));
    let binding_words = match namespace {
        "" => format!("ClusterRoleBinding {name:?}"),
        namespace => format!("RoleBinding {:?}", format!("{name}/{namespace}")),
    };
    let (kind, subject_name) = (text(subject, "kind"), text(subject, "name"));
    let of = Some(text(subject, "namespace")).filter(|of| !of.is_empty()).unwrap_or(namespace);
    let subject_words = match kind {
        "ServiceAccount" => format!("{subject_name}/{of}"),
        _ => subject_name.to_owned(),
    };
    let role = RoleRef::of(binding, namespace);
    format!("{binding_words} of {} {:?} to {kind} {subject_words:?}", role.kind, role.name)
}

/// True if `rule` covers `wanted`.
fn rule_allows(rule: &Value, wanted: &Attributes) -> bool {
    let has =
        |key: &str, value: &str| items(rule, key).iter().any(|allowed| allowed == "*" || allowed == value);
    if !has("verbs", &wanted.verb) {
        return false;
    }
    if !wanted.path.is_empty() {
        return items(rule, "nonResourceURLs").iter().filter_map(Value::as_str).any(|url| {
            url == wanted.path || url.strip_suffix('*').is_some_and(|prefix| wanted.path.starts_with(prefix))
        });
    }
    let names = items(rule, "resourceNames");
    let named = names.is_empty() || names.iter().any(|name| name == &wanted.name);
    named && has("apiGroups", &wanted.group) && has_resource(rule, &wanted.resource)
}

/// `*` covers everything, `pods/*` all that is below pods, `*/scale` the scale of everything.
fn has_resource(rule: &Value, wanted: &str) -> bool {
    let below = wanted.split_once('/').map(|(_, below)| below);
    items(rule, "resources").iter().filter_map(Value::as_str).any(|allowed| {
        allowed == "*" || allowed == wanted || below.is_some_and(|below| allowed == format!("*/{below}"))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    fn roles(role: &RoleRef) -> Result<Option<Vec<Value>>, Infallible> {
        Ok(match (role.kind.as_str(), role.name.as_str()) {
            ("ClusterRole", "view") => Some(vec![
                json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]}),
            ]),
            ("Role", "one") => Some(vec![
                json!({"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"]}),
            ]),
            _ => None,
        })
    }

    fn granted_to(user: &User) -> Grants {
        let bindings = [
            json!({"metadata": {"name": "c"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "Group", "name": "team"}]}),
            json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "one"},
                "subjects": [{"kind": "User", "name": "x"}, {"kind": "ServiceAccount", "name": "robot"}]}),
            json!({"metadata": {"name": "d", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "two"}, "subjects": [{"kind": "ServiceAccount", "name": "robot"}]}),
        ];
        Grants::collect(user, &bindings, roles).unwrap()
    }

    fn wants(verb: &str, resource: &str, name: &str) -> Attributes {
        Attributes {
            verb: verb.into(),
            resource: resource.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn roles_grant_what_they_name_to_those_they_are_bound_to() {
        let team = granted_to(&User { groups: vec!["team".into()], ..User::default() });
        let may = |grants: &Grants, verb, resource, name| grants.decide(&wants(verb, resource, name)).allowed;
        assert!(may(&team, "get", "pods", "") && may(&team, "get", "deployments/scale", "d"));
        assert!(!may(&team, "delete", "pods", "") && !may(&team, "get", "pods/log", "p"));
        let robot = granted_to(&User { name: "system:serviceaccount:n:robot".into(), ..User::default() });
        assert!(may(&robot, "delete", "secrets", "s") && !may(&robot, "delete", "secrets", "t"));
        assert!(!may(&granted_to(&User::default()), "get", "pods", ""));
    }

    #[test]
    fn a_decision_says_by_what_or_what_was_not_found() {
        let robot = granted_to(&User { name: "system:serviceaccount:n:robot".into(), ..User::default() });
        let allowed = robot.decide(&wants("get", "secrets", "s")).reason;
        assert_eq!(
            allowed,
            r#"RBAC: allowed by RoleBinding "b/n" of Role "one" to ServiceAccount "robot/n""#
        );
        let denied = robot.decide(&wants("get", "pods", "p")).reason;
        assert_eq!(denied, r#"RBAC: role.rbac.authorization.k8s.io "two" not found"#);
    }
}
