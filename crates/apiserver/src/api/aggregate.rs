//! ClusterRoles that gather the rules of others by their labels (`aggregationRule`), as `admin`, `edit` and `view` do: the real
//! server's controller manager keeps their rules, here one task does. What a role is to say is decided by a pure function.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Api;
use crate::access::RBAC;
use crate::json::{at, items};
use crate::selector::LabelSelector;
use crate::status::Status;
use crate::store::StoreError;

/// Time after which work that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the rules for as long as the task lives.
pub(crate) async fn run(api: Arc<Api>) {
    loop {
        match follow(&api).await {
            // The watcher fell behind, or the store is closed: looking again finds out.
            Ok(()) => tokio::task::yield_now().await,
            Err(status) => tracing::warn!(%status, "rules of cluster roles are gathered later"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(api: &Api) -> Result<(), Status> {
    let prefix = format!("{RBAC}/clusterroles/");
    let mut watcher = api.store.watch(&prefix, api.store.published())?;
    loop {
        gather(api, &prefix).await?;
        if watcher.next().await.is_none() {
            return Ok(());
        }
        while watcher.ready().is_some() {}
    }
}

/// Writes the rules that have changed.
async fn gather(api: &Api, prefix: &str) -> Result<(), Status> {
    let roles = api.store.list(crate::store::Range::under(prefix))?.items;
    let roles: Result<BTreeMap<String, Value>, _> =
        roles.into_iter().map(|role| Ok((role.key, serde_json::from_slice(&role.body)?))).collect();
    let roles = roles.map_err(|error: serde_json::Error| Status::internal(error))?;
    for (key, rules) in wanted(&roles) {
        let written = api.store.transact(move |txn| {
            let Some(mut role) = txn.get(&key)? else { return Ok(()) };
            role["rules"] = json!(rules);
            txn.put(&key, role).map(drop)
        });
        written.await.map_err(|error: StoreError| Status::from(error))?;
    }
    Ok(())
}

/// What roles are to say that do not say it yet. One that gathers from another that gathers is right once that one is.
fn wanted(roles: &BTreeMap<String, Value>) -> Vec<(String, Vec<Value>)> {
    let gathering =
        roles.iter().filter(|(_, role)| at(role, "aggregationRule").is_some_and(Value::is_object));
    let each = gathering.map(|(key, role)| (key, role, gathered(key, role, roles)));
    each.filter(|(_, role, rules)| items(role, "rules") != rules)
        .map(|(key, _, rules)| (key.clone(), rules))
        .collect()
}

/// The rules of all roles that one of the selectors fits, in the order of selectors and names, each once.
fn gathered(own: &str, role: &Value, roles: &BTreeMap<String, Value>) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in items(role, "aggregationRule.clusterRoleSelectors") {
        let selector = LabelSelector::from_object(selector);
        let others = roles.iter().filter(|(key, other)| *key != own && selector.matches(other));
        for rule in others.flat_map(|(_, other)| items(other, "rules")) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(resource: &str) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]})
    }

    #[test]
    fn rules_are_gathered_by_labels_once_each() {
        let named =
            |label: &str, rules: Value| json!({"metadata": {"labels": {label: "true"}}, "rules": rules});
        let gathers = json!({"clusterRoleSelectors": [{"matchLabels": {"view": "true"}}]});
        let mut all = json!({"metadata": {"labels": {"view": "true"}}, "rules": []});
        all["aggregationRule"] = gathers;
        let roles = BTreeMap::from([
            ("a".to_owned(), named("view", json!([rule("pods"), rule("services")]))),
            ("b".to_owned(), named("view", json!([rule("services")]))),
            ("c".to_owned(), named("other", json!([rule("secrets")]))),
            ("view".to_owned(), all.clone()),
        ]);
        let rules = vec![rule("pods"), rule("services")];
        assert_eq!(wanted(&roles), [("view".to_owned(), rules.clone())]);
        all["rules"] = json!(rules);
        let settled = BTreeMap::from_iter(roles.into_iter().chain([("view".to_owned(), all)]));
        assert_eq!(wanted(&settled), []);
    }
}
