//! Nobody gives what they have not: who writes a role must hold all of its rules, who binds one must hold the role's, unless a rule
//! lets them `escalate` or `bind`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::User;
use super::grants::{Attributes, Grants, RBAC, RoleRef};
use crate::json::items;

/// Why something may not be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The giver has it not.
    Forbidden(String),
    /// The role that is to be bound is not there.
    NoSuchRole(String),
}

/// Watches over what one user writes into one role or binding.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Who writes.
    pub(crate) user: User,
    /// Plural of what is written.
    pub(crate) plural: String,
    /// Its namespace; empty for the whole cluster.
    pub(crate) namespace: String,
    /// The name that was asked for; empty for an object that is made.
    pub(crate) name: String,
    /// What the user may do there.
    pub(crate) held: Grants,
    /// The rules of all roles that can be bound there.
    pub(crate) roles: BTreeMap<RoleRef, Vec<Value>>,
}

impl Guard {
    /// Whether `new` may take the place of `old`.
    pub(crate) fn check(&self, old: &Value, new: &Value) -> Result<(), Denial> {
        if is_same_but_for_collection(old, new) {
            return Ok(());
        }
        match self.plural.as_str() {
            "roles" | "clusterroles" => self.check_role(old, new),
            _ => self.check_binding(new),
        }
    }

    fn check_role(&self, old: &Value, new: &Value) -> Result<(), Denial> {
        if self.may("escalate", &self.plural, &self.name) {
            return Ok(());
        }
        self.holds(items(new, "rules"))?;
        let aggregates = |role: &Value| !items(role, "aggregationRule.clusterRoleSelectors").is_empty();
        if self.plural == "clusterroles" && (aggregates(old) || aggregates(new)) {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            self.holds(&everything()).map_err(|_| Denial::Forbidden(why.into()))?;
        }
        Ok(())
    }

    fn check_binding(&self, new: &Value) -> Result<(), Denial> {
        let role = RoleRef::of(new, &self.namespace);
        let plural = match role.kind.as_str() {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            // Validation refuses it.
            _ => return Ok(()),
        };
        if self.may("bind", plural, &role.name) {
            return Ok(());
        }
        match self.roles.get(&role) {
            Some(rules) => self.holds(rules),
            None => Err(Denial::NoSuchRole(role.name)),
        }
    }

    fn may(&self, verb: &str, plural: &str, name: &str) -> bool {
        let wanted = Attributes {
            verb: verb.into(),
            group: RBAC.into(),
            resource: plural.into(),
            name: name.into(),
            namespace: self.namespace.clone(),
            path: String::new(),
        };
        self.held.decide(&wanted).allowed
    }

    fn holds(&self, rules: &[Value]) -> Result<(), Denial> {
        let missing = uncovered(&self.held, rules);
        if missing.is_empty() {
            return Ok(());
        }
        let lines: Vec<&str> = missing.iter().map(String::as_str).collect();
        Err(Denial::Forbidden(format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            self.user.name,
            quoted(&self.user.groups),
            lines.join("\n")
        )))
    }
}

/// Owners and finalizers may be taken off a role that one does not hold: the collector could not work otherwise.
fn is_same_but_for_collection(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["finalizers", "ownerReferences", "managedFields"] {
                metadata.remove(field);
            }
        }
        object
    };
    bare(old) == bare(new)
}

fn everything() -> Vec<Value> {
    vec![
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
    ]
}

/// One verb on one resource, or on one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Resource { group: String, resource: String, name: Option<String> },
    Path(String),
}

/// What of `rules` nobody's single rule covers, in words and in order; verbs of one resource are said together.
fn uncovered(held: &Grants, rules: &[Value]) -> BTreeSet<String> {
    let mut resources: BTreeMap<Subject, Vec<String>> = BTreeMap::new();
    let mut words = BTreeSet::new();
    for (subject, verb) in rules.iter().flat_map(parts) {
        if held.rules().any(|rule| covers(rule, &subject, &verb)) {
            continue;
        }
        match &subject {
            Subject::Resource { .. } => resources.entry(subject).or_default().push(verb),
            Subject::Path(_) => drop(words.insert(described(&subject, &[verb]))),
        }
    }
    words.extend(resources.iter().map(|(subject, verbs)| described(subject, verbs)));
    words
}

/// A rule, taken apart.
fn parts(rule: &Value) -> Vec<(Subject, String)> {
    let all = |key: &str| strings(rule, key);
    let (verbs, names) = (all("verbs"), all("resourceNames"));
    let names: Vec<Option<String>> =
        if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    let mut parts = Vec::new();
    for group in all("apiGroups") {
        for resource in all("resources") {
            for verb in &verbs {
                let subject = |name: &Option<String>| Subject::Resource {
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                };
                parts.extend(names.iter().map(|name| (subject(name), verb.clone())));
            }
        }
    }
    for path in all("nonResourceURLs") {
        parts.extend(verbs.iter().map(|verb| (Subject::Path(path.clone()), verb.clone())));
    }
    parts
}

/// True if the one rule `owner` covers one part of another.
fn covers(owner: &Value, subject: &Subject, verb: &str) -> bool {
    let has = |key: &str, value: &str| items(owner, key).iter().any(|held| held == "*" || held == value);
    if !has("verbs", verb) {
        return false;
    }
    match subject {
        Subject::Path(path) => items(owner, "nonResourceURLs")
            .iter()
            .filter_map(Value::as_str)
            .any(|held| held == path || held.ends_with('*') && path.starts_with(held.trim_end_matches('*'))),
        Subject::Resource { group, resource, name } => {
            let names = items(owner, "resourceNames");
            let named = names.is_empty() || name.as_ref().is_some_and(|name| names.iter().any(|n| n == name));
            let below = resource.split_once('/').map(|(_, below)| format!("*/{below}"));
            let held = has("resources", resource) || below.is_some_and(|below| has("resources", &below));
            named && held && has("apiGroups", group)
        }
    }
}

fn described(subject: &Subject, verbs: &[String]) -> String {
    let one = |text: &String| quoted(std::slice::from_ref(text));
    let verbs = quoted(verbs);
    match subject {
        Subject::Path(path) => format!("{{NonResourceURLs:{}, Verbs:{verbs}}}", one(path)),
        Subject::Resource { group, resource, name } => {
            let named =
                name.as_ref().map_or_else(String::new, |name| format!(", ResourceNames:{}", one(name)));
            format!("{{APIGroups:{}, Resources:{}{named}, Verbs:{verbs}}}", one(group), one(resource))
        }
    }
}

/// As Go prints a list with `%q`.
fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| crate::go::quote(text)).collect();
    format!("[{}]", quoted.join(" "))
}

fn strings(rule: &Value, key: &str) -> Vec<String> {
    items(rule, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Somebody who may do what `rules` say, and writes into `plural` of namespace `n`.
    fn guard(plural: &str, rules: &Value) -> Guard {
        let user = User { name: "jane".into(), groups: vec!["team".into()], ..User::default() };
        let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "jane"}]});
        let rules = rules.as_array().unwrap().clone();
        let held = Grants::collect(&user, &[binding], |_| Ok::<_, Infallible>(Some(rules.clone()))).unwrap();
        let look = RoleRef { kind: "ClusterRole".into(), namespace: String::new(), name: "look".into() };
        let look_rules = vec![json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})];
        let namespace = if plural.starts_with("cluster") { "" } else { "n" };
        Guard {
            user,
            plural: plural.into(),
            namespace: namespace.into(),
            name: String::new(),
            held,
            roles: BTreeMap::from([(look, look_rules)]),
        }
    }

    fn role(rules: &Value) -> Value {
        json!({"metadata": {"name": "x"}, "rules": rules})
    }

    #[test]
    fn a_role_may_say_what_its_writer_holds() {
        let held = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"]}]);
        let guard = guard("roles", &held);
        for fine in [
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]),
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["deployments/scale"]}]),
            json!([]),
        ] {
            assert_eq!(guard.check(&Value::Null, &role(&fine)), Ok(()), "{fine}");
        }
        let more = json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}]);
        let Err(Denial::Forbidden(why)) = guard.check(&Value::Null, &role(&more)) else { panic!() };
        let wanted = "user \"jane\" (groups=[\"team\"]) is attempting to grant RBAC permissions not currently held:\n\
                      {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}";
        assert_eq!(why, wanted);
    }

    #[test]
    fn escalate_and_bind_are_rights_of_their_own() {
        let more = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let escalate = json!([{"verbs": ["escalate"], "apiGroups": [RBAC], "resources": ["roles"]}]);
        assert_eq!(guard("roles", &escalate).check(&Value::Null, &role(&more)), Ok(()));
        let binding =
            |name: &str| json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": name}});
        let bind = json!([{"verbs": ["bind"], "apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["look"]}]);
        let guard_of = |rules: &Value| guard("rolebindings", rules);
        assert_eq!(guard_of(&bind).check(&Value::Null, &binding("look")), Ok(()));
        assert!(matches!(
            guard_of(&json!([])).check(&Value::Null, &binding("look")),
            Err(Denial::Forbidden(_))
        ));
        let missing = guard_of(&bind).check(&Value::Null, &binding("other"));
        assert_eq!(missing, Err(Denial::NoSuchRole("other".into())));
    }

    #[test]
    fn aggregation_needs_everything_and_the_collector_nothing() {
        let gathering = json!({"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
        let Err(Denial::Forbidden(why)) = guard("clusterroles", &json!([])).check(&Value::Null, &gathering)
        else {
            panic!()
        };
        assert!(why.starts_with("must have cluster-admin privileges"));
        assert_eq!(guard("clusterroles", &json!(everything())).check(&Value::Null, &gathering), Ok(()));
        let mut held = gathering.clone();
        held["metadata"]["finalizers"] = json!(["a/b"]);
        assert_eq!(guard("clusterroles", &json!([])).check(&held, &gathering), Ok(()));
    }
}
