//! The life of a pool (spec/spiderpool.md 9.5): what the webhook would have filled in, its counts, and its end.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client};
use polynic_api::admission::{Rules, effective_set, family_of_version, pool as rules};
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{FINALIZER, PoolSpec, PoolStatus, SpiderIPPool, SpiderSubnet};
use polynic_cluster::spider::{self, Stored, set_plain_meta};
use serde_json::{Value, json};

use crate::reconcile::{self, Pace, ReconcileError};

/// Keeps pools until the future is dropped.
pub async fn run(client: Client, switches: Rules, pace: Pace) {
    let pools = spider::all::<IPPool>(client.clone());
    let controller = Controller::new(pools, watcher::Config::default());
    let known = controller.store();
    let subnets = spider::all::<Subnet>(client.clone());
    let of = move |subnet: Stored<Subnet>| pools_of(&subnet, &known.state());
    // A SpiderSubnet that comes later adopts the pools that are there.
    let controller = controller.watches(subnets, watcher::Config::default(), of);
    reconcile::run("ippool", controller, pace, move |pool| {
        let client = client.clone();
        async move { keep(&client, switches, pool).await }
    })
    .await;
}

/// The pools of a SpiderSubnet's prefix that nobody controls yet.
fn pools_of(subnet: &Stored<Subnet>, pools: &[Arc<Stored<IPPool>>]) -> Vec<ObjectRef<Stored<IPPool>>> {
    let is_its = |pool: &&Arc<Stored<IPPool>>| {
        pool.spec.subnet == subnet.spec.subnet && pool.plain().metadata.controller().is_none()
    };
    pools.iter().filter(is_its).map(|pool| ObjectRef::from_obj(pool.as_ref())).collect()
}

/// How many addresses a pool has: all of `ips` that are not in `excludeIPs`, at most the largest 64-bit number.
pub fn total(spec: &PoolSpec) -> i64 {
    let Some(family) = spec.ip_version.and_then(family_of_version) else { return 0 };
    i64::try_from(effective_set(family, &spec.ips, &spec.exclude_ips).count()).unwrap_or(i64::MAX)
}

/// What of the status has to change; `None` if it is right. Records are the agents' alone.
pub fn status_change(spec: &PoolSpec, status: Option<&PoolStatus>) -> Option<Value> {
    let status = status.cloned().unwrap_or_default();
    let total = total(spec);
    let mut change = json!({});
    if status.total_ip_count != Some(total) {
        change["totalIPCount"] = json!(total);
    }
    if status.allocated_ip_count.is_none() {
        change["allocatedIPCount"] =
            json!(status.allocated_addresses().map_or(0, |addresses| addresses.len()));
    }
    (change != json!({})).then_some(change)
}

/// Whether nothing of a pool is in use any more; a text that cannot be read counts as in use.
pub fn is_unused(status: Option<&PoolStatus>) -> bool {
    let text = status.and_then(|status| status.allocated_ips.as_deref());
    polynic_ipam::Records::of_text(text).is_ok_and(|records| records.is_empty())
}

async fn keep(
    client: &Client,
    switches: Rules,
    pool: Arc<Stored<IPPool>>,
) -> Result<Option<Duration>, ReconcileError> {
    let api = spider::all::<IPPool>(client.clone());
    let name = pool.metadata.name.clone().unwrap_or_default();
    if pool.metadata.deletion_timestamp.is_some() {
        finish(&api, &name).await?;
        return Ok(None);
    }
    let pool = complete(client, &api, switches, pool).await?;
    if let Some(change) = status_change(&pool.spec, pool.status.as_ref()) {
        let patch = Patch::Merge(json!({"status": change}));
        let patched = api.patch_status(&name, &PatchParams::default(), &patch).await;
        patched.map_err(ReconcileError::during(format!("counting SpiderIPPool {name}")))?;
    }
    Ok(None)
}

/// Lets go of a pool that is being deleted, if a live read says that nothing of it is in use. No new address comes from it, so that stays so.
async fn finish(api: &Api<Stored<IPPool>>, name: &str) -> Result<(), ReconcileError> {
    let step = || format!("letting go of SpiderIPPool {name}");
    let Some(pool) = api.get_opt(name).await.map_err(ReconcileError::during(step()))? else { return Ok(()) };
    let finalizers = pool.metadata.finalizers.clone().unwrap_or_default();
    let is_held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if pool.metadata.deletion_timestamp.is_none() || !is_held || !is_unused(pool.status.as_ref()) {
        return Ok(());
    }
    let rest: Vec<&String> = finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": pool.metadata.resource_version, "finalizers": rest}});
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.map_err(ReconcileError::during(step()))?;
    Ok(())
}

/// Does what the webhook does, for a pool that was written without it, or before its SpiderSubnet.
async fn complete(
    client: &Client,
    api: &Api<Stored<IPPool>>,
    switches: Rules,
    pool: Arc<Stored<IPPool>>,
) -> Result<Arc<Stored<IPPool>>, ReconcileError> {
    let before = pool.plain();
    // Agents write pools all the time: only one that could be adopted is worth the question.
    let may_be_adopted = switches.subnets && before.metadata.controller().is_none();
    let subnets = if may_be_adopted { subnets(client).await? } else { Vec::new() };
    let after = completed(&before, &subnets, switches);
    if after == before {
        return Ok(pool);
    }
    let name = &before.metadata.name;
    let mut stored = pool.as_ref().clone();
    set_plain_meta(&mut stored.metadata, &after.metadata);
    stored.spec = after.spec;
    let written = api.replace(name, &PostParams::default(), &stored).await;
    written.map(Arc::new).map_err(ReconcileError::during(format!("completing SpiderIPPool {name}")))
}

fn completed(pool: &SpiderIPPool, subnets: &[SpiderSubnet], switches: Rules) -> SpiderIPPool {
    let mut pool = pool.clone();
    rules::mutate(&mut pool, subnets, switches);
    pool
}

async fn subnets(client: &Client) -> Result<Vec<SpiderSubnet>, ReconcileError> {
    let list = spider::all::<Subnet>(client.clone()).list(&ListParams::default()).await;
    let list = list.map_err(ReconcileError::during("listing SpiderSubnets"))?;
    Ok(list.iter().map(Stored::plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> PoolSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn totals_do_not_count_what_is_excluded_and_end_at_64_bits() {
        let v4 = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.9"], "excludeIPs": ["10.0.0.3-10.0.0.4"]});
        assert_eq!(total(&spec(v4)), 7);
        let v6 = json!({"ipVersion": 6, "subnet": "fd00::/48", "ips": ["fd00::-fd00:0:0:ffff:ffff:ffff:ffff:ffff"]});
        assert_eq!(total(&spec(v6)), i64::MAX);
        assert_eq!(total(&spec(json!({"subnet": "x"}))), 0);
    }

    #[test]
    fn counts_are_written_once() {
        let spec = spec(json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.9"]}));
        assert_eq!(status_change(&spec, None), Some(json!({"totalIPCount": 9, "allocatedIPCount": 0})));
        let status = |value: Value| -> PoolStatus { serde_json::from_value(value).unwrap() };
        let records = json!({"totalIPCount": 9, "allocatedIPs": "{\"10.0.0.1\":{}}"});
        assert_eq!(status_change(&spec, Some(&status(records))), Some(json!({"allocatedIPCount": 1})));
        let right = json!({"totalIPCount": 9, "allocatedIPCount": 3});
        assert_eq!(status_change(&spec, Some(&status(right))), None);
    }

    #[test]
    fn a_text_that_cannot_be_read_is_in_use() {
        let with = |text: &str| PoolStatus { allocated_ips: Some(text.to_owned()), ..PoolStatus::default() };
        assert!(is_unused(None) && is_unused(Some(&with("{}"))));
        assert!(!is_unused(Some(&with(r#"{"10.0.0.1":{"pod":"a/b"}}"#))) && !is_unused(Some(&with("["))));
    }
}
