//! Every namespace has a service account `default`, which pods have unless they name another.

use kube::ResourceExt;
use serde_json::json;

use super::action::{Action, Kind};
use super::meta;
use super::snapshot::Snapshot;

const NAME: &str = "default";

/// Makes those that are missing.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let has = |namespace: &str| {
        let own = |account: &&_| ResourceExt::namespace(*account).as_deref() == Some(namespace);
        world.accounts.iter().filter(own).any(|account| account.name_any() == NAME)
    };
    let alive = world.namespaces.iter().filter(|namespace| !meta::is_ending(*namespace));
    let missing = alive.map(ResourceExt::name_any).filter(|namespace| !has(namespace));
    missing.map(account).collect()
}

fn account(namespace: String) -> Action {
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}});
    Action::Create { kind: Kind::ServiceAccount, namespace, object }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{object, world};
    use super::*;

    #[test]
    fn a_namespace_gets_its_account_once_and_none_while_it_goes() {
        let mut world = world(0);
        let namespace = |name: &str, over| object(json!({"metadata": {"name": name}}), over);
        world.namespaces = vec![
            namespace("new", json!({})),
            namespace("old", json!({})),
            namespace("going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        ];
        world.accounts = vec![object(json!({"metadata": {"name": NAME, "namespace": "old"}}), json!({}))];
        assert_eq!(decide(&world), [account("new".into())]);
    }
}
