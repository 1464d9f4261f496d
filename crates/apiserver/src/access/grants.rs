//! What RBAC objects grant (`rbac.authorization.k8s.io`): roles, bound to users, groups and service accounts.

use serde_json::{Value, json};

use super::{MASTERS, User};
use crate::json::{items, text};

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

/// The RBAC objects that matter in one namespace.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// ClusterRoles.
    pub(crate) cluster_roles: Vec<Value>,
    /// ClusterRoleBindings.
    pub(crate) cluster_bindings: Vec<Value>,
    /// Roles of the namespace.
    pub(crate) roles: Vec<Value>,
    /// RoleBindings of the namespace.
    pub(crate) bindings: Vec<Value>,
}

impl Grants {
    /// All rules that hold for `user`.
    pub(crate) fn rules(&self, user: &User) -> Vec<Value> {
        if user.groups.iter().any(|group| group == MASTERS) {
            let everything = json!(["*"]);
            return vec![
                json!({"verbs": everything, "apiGroups": everything, "resources": everything}),
                json!({"verbs": everything, "nonResourceURLs": everything}),
            ];
        }
        let cluster = self.cluster_bindings.iter().map(|binding| (binding, ""));
        let own = self.bindings.iter().map(|binding| (binding, text(binding, "metadata.namespace")));
        let bound = cluster.chain(own).filter(|(binding, namespace)| binds(binding, namespace, user));
        bound.flat_map(|(binding, _)| self.role_rules(binding)).cloned().collect()
    }

    /// True if a rule for `user` covers `wanted`.
    pub(crate) fn allow(&self, user: &User, wanted: &Attributes) -> bool {
        self.rules(user).iter().any(|rule| rule_allows(rule, wanted))
    }

    fn role_rules(&self, binding: &Value) -> &[Value] {
        let (kind, name) = (text(binding, "roleRef.kind"), text(binding, "roleRef.name"));
        let roles = if kind == "ClusterRole" { &self.cluster_roles } else { &self.roles };
        roles.iter().find(|role| text(role, "metadata.name") == name).map_or(&[], |role| items(role, "rules"))
    }
}

fn binds(binding: &Value, namespace: &str, user: &User) -> bool {
    items(binding, "subjects").iter().any(|subject| {
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
    })
}

/// True if `rule` covers `wanted`.
pub(crate) fn rule_allows(rule: &Value, wanted: &Attributes) -> bool {
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
    use super::*;

    fn grants() -> Grants {
        Grants {
            cluster_roles: vec![json!({
                "metadata": {"name": "view"},
                "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]}],
            })],
            cluster_bindings: vec![json!({
                "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "Group", "name": "team"}],
            })],
            roles: vec![json!({
                "metadata": {"name": "one"},
                "rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"]}],
            })],
            bindings: vec![json!({
                "metadata": {"namespace": "n"}, "roleRef": {"kind": "Role", "name": "one"},
                "subjects": [{"kind": "ServiceAccount", "name": "robot"}],
            })],
        }
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
        let team = User { groups: vec!["team".into()], ..User::default() };
        assert!(grants().allow(&team, &wants("get", "pods", "")));
        assert!(grants().allow(&team, &wants("get", "deployments/scale", "d")));
        assert!(!grants().allow(&team, &wants("delete", "pods", "")));
        assert!(!grants().allow(&team, &wants("get", "pods/log", "p")));
        let robot = User { name: "system:serviceaccount:n:robot".into(), ..User::default() };
        assert!(grants().allow(&robot, &wants("delete", "secrets", "s")));
        assert!(!grants().allow(&robot, &wants("delete", "secrets", "t")));
        assert!(!grants().allow(&User::default(), &wants("get", "pods", "")));
    }

    #[test]
    fn the_servers_own_user_may_do_everything() {
        let path = Attributes { verb: "get".into(), path: "/metrics".into(), ..Attributes::default() };
        assert!(Grants::default().allow(&User::admin(), &wants("delete", "nodes", "")));
        assert!(Grants::default().allow(&User::admin(), &path));
    }
}
