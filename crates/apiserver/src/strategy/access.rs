//! Roles and bindings.

use serde_json::{Value, json};

use super::{NameRule, Strategy, fields};
use crate::json::{items, text};
use crate::status::Cause;

/// Roles and ClusterRoles.
pub(crate) struct Role;
impl Strategy for Role {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        items(object, "rules").iter().enumerate().flat_map(|(r, rule)| rule_causes(r, rule)).collect()
    }
}

fn rule_causes(r: usize, rule: &Value) -> Vec<Cause> {
    let none = |key: &str| items(rule, key).is_empty();
    let mut causes = Vec::new();
    if none("verbs") {
        causes.push(Cause::required(format!("rules[{r}].verbs"), "verbs must contain at least one value"));
    }
    if !none("nonResourceURLs") {
        return causes;
    }
    if none("apiGroups") {
        let detail = "resource rules must supply at least one api group";
        causes.push(Cause::required(format!("rules[{r}].apiGroups"), detail));
    }
    if none("resources") {
        let detail = "resource rules must supply at least one resource";
        causes.push(Cause::required(format!("rules[{r}].resources"), detail));
    }
    causes
}

/// RoleBindings and ClusterRoleBindings; the latter bind cluster roles only.
pub(crate) struct Binding {
    /// The kinds of roles that may be bound.
    pub(crate) roles: &'static [&'static str],
}

impl Strategy for Binding {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let kind = text(object, "roleRef.kind");
        if !self.roles.contains(&kind) {
            causes.push(Cause::not_supported("roleRef.kind", &json!(kind), self.roles));
        }
        causes.extend(fields::present(object, "roleRef.name", "roleRef.name"));
        for (s, subject) in items(object, "subjects").iter().enumerate() {
            causes.extend(subject_causes(&format!("subjects[{s}]"), subject));
        }
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        if new["roleRef"] == old["roleRef"] {
            return Vec::new();
        }
        let part = |key: &str| text(new, &format!("roleRef.{key}"));
        let shown = format!(
            r#"{{"APIGroup":"{}","Kind":"{}","Name":"{}"}}"#,
            part("apiGroup"),
            part("kind"),
            part("name")
        );
        let message = format!("Invalid value: {shown}: cannot change roleRef");
        vec![Cause { field: "roleRef".into(), reason: "FieldValueInvalid", message }]
    }
}

fn subject_causes(field: &str, subject: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    causes.extend(fields::present(subject, "name", &format!("{field}.name")));
    match text(subject, "kind") {
        "ServiceAccount" if text(subject, "namespace").is_empty() => {
            causes.push(Cause::required(format!("{field}.namespace"), ""));
        }
        "ServiceAccount" | "User" | "Group" => {}
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            causes.push(Cause::not_supported(format!("{field}.kind"), &json!(other), &kinds));
        }
    }
    causes
}
