//! Pools and reserved addresses: from API objects to the allocator's words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use polynic_api::meta::LabelSelector;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::{self, Route};
use polynic_ipam::{Expression, Operator, Pool, PoolRoute, PoolSpec, Records, ReservedIp, Selector};
use polynic_net::{IpNet, IpRange};

use crate::spider::Stored;

/// Where pools are read and written.
pub(super) const PATH: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";

/// A pool as the watch brought it. Its records are read when somebody looks at it: while many agents write, most versions pass unseen.
pub(super) struct Followed {
    stored: Stored<IPPool>,
    read: OnceLock<Option<Arc<Pool>>>,
}

impl Followed {
    pub(super) fn new(mut stored: Stored<IPPool>) -> Self {
        stored.metadata.managed_fields = None;
        Self { stored, read: OnceLock::new() }
    }

    /// The pool; `None` if it cannot be read, about which a warning says more.
    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        self.read.get_or_init(|| self.convert()).clone()
    }

    fn convert(&self) -> Option<Arc<Pool>> {
        let name = self.stored.metadata.name.as_deref().unwrap_or_default();
        let told =
            |why: &String| tracing::warn!(pool = name, why, "this pool serves nobody: it cannot be read");
        pool(&self.stored).inspect_err(told).ok().map(Arc::new)
    }
}

/// A pool in the allocator's words.
///
/// # Errors
/// Names the field that cannot be read.
pub(super) fn pool(stored: &Stored<IPPool>) -> Result<Pool, String> {
    let metadata = &stored.metadata;
    let allocated = stored.status.as_ref().and_then(|status| status.allocated_ips.as_deref());
    Ok(Pool {
        name: metadata.name.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        labels: metadata.labels.clone().unwrap_or_default(),
        terminating: metadata.deletion_timestamp.is_some(),
        spec: Arc::new(spec(&stored.spec)?),
        records: Records::of_text(allocated).map_err(|why| why.to_string())?,
    })
}

fn spec(spec: &spider::PoolSpec) -> Result<PoolSpec, String> {
    Ok(PoolSpec {
        subnet: read("subnet", &spec.subnet)?,
        ips: ranges("ips", &spec.ips)?,
        exclude_ips: ranges("excludeIPs", &spec.exclude_ips)?,
        gateway: gateway(spec.gateway.as_deref())?,
        routes: spec.routes.iter().flatten().map(route).collect::<Result<_, _>>()?,
        pod_affinity: selector("podAffinity", spec.pod_affinity.as_ref())?,
        namespace_affinity: selector("namespaceAffinity", spec.namespace_affinity.as_ref())?,
        node_affinity: selector("nodeAffinity", spec.node_affinity.as_ref())?,
        namespace_names: spec.namespace_name.clone(),
        node_names: spec.node_name.clone(),
        multus_names: spec.multus_name.clone(),
        default: spec.default.unwrap_or_default(),
        disable: spec.disable.unwrap_or_default(),
    })
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|why| format!("spec.{field} {text:?}: {why}"))
}

fn ranges(field: &str, texts: &[String]) -> Result<Vec<IpRange>, String> {
    texts.iter().map(|text| read(field, text)).collect()
}

fn gateway(text: Option<&str>) -> Result<Option<IpAddr>, String> {
    text.filter(|text| !text.is_empty()).map(|text| read("gateway", text)).transpose()
}

/// A route of a pool, an endpoint or an annotation.
pub(super) fn route(route: &Route) -> Result<PoolRoute, String> {
    let dst: IpNet = read("routes.dst", &route.dst)?;
    Ok(PoolRoute { dst, gw: read("routes.gw", &route.gw)? })
}

fn selector(field: &str, selector: Option<&LabelSelector>) -> Result<Option<Selector>, String> {
    let Some(selector) = selector else { return Ok(None) };
    let labels: BTreeMap<String, String> = selector.match_labels.clone();
    let expressions = selector.match_expressions.iter().map(|expression| {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(format!("spec.{field}: unknown operator {other:?}")),
        };
        Ok(Expression { key: expression.key.clone(), operator, values: expression.values.clone() })
    });
    Ok(Some(Selector { match_labels: labels, match_expressions: expressions.collect::<Result<_, _>>()? }))
}

/// Reserved addresses in the allocator's words. What is no range reserves nothing, about which a warning says more.
pub(super) fn reserved(stored: Stored<ReservedIP>) -> Option<ReservedIp> {
    let name = stored.metadata.name.unwrap_or_default();
    let range = |text: &String| {
        let told = |why: &String| tracing::warn!(reserved_ip = name, why, "these addresses are not reserved");
        read::<IpRange>("ips", text).inspect_err(told).ok()
    };
    let ips = stored.spec.ips.iter().filter_map(range).collect();
    Some(ReservedIp { ips, terminating: stored.metadata.deletion_timestamp.is_some(), name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn stored(spec: Value, status: Value) -> Stored<IPPool> {
        serde_json::from_value(json!({
            "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
            "metadata": {"name": "p", "resourceVersion": "7", "labels": {"a": "b"}}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_pool_is_read_with_everything() {
        let spec = json!({
            "subnet": "10.9.0.0/16", "ips": ["10.9.0.1-10.9.0.9", "10.9.1.1"], "excludeIPs": ["10.9.0.3"],
            "gateway": "10.9.0.254", "routes": [{"dst": "10.8.0.0/16", "gw": "10.9.0.253"}], "default": true,
            "nodeAffinity": {"matchLabels": {"rack": "a"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]},
            "namespaceName": ["a"], "nodeName": ["n"], "multusName": ["m"],
        });
        let text = r#"{"10.9.0.1":{"pod":"a/b","podUid":"u"}}"#;
        let pool = pool(&stored(spec, json!({"allocatedIPs": text, "allocatedIPCount": 1}))).unwrap();
        assert_eq!((pool.name.as_str(), pool.resource_version.as_str(), pool.terminating), ("p", "7", false));
        assert_eq!((pool.spec.total_count(), pool.records.count()), (9, 1));
        assert_eq!(pool.spec.routes.len(), 1);
        assert!(pool.spec.default && !pool.spec.disable && pool.spec.node_affinity.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (spec, field) in [
            (json!({"subnet": "10.9.0.0"}), "subnet"),
            (json!({"subnet": "10.9.0.0/16", "ips": ["x"]}), "ips"),
            (json!({"subnet": "10.9.0.0/16", "gateway": "x"}), "gateway"),
            (json!({"subnet": "10.9.0.0/16", "routes": [{"dst": "x", "gw": "10.9.0.1"}]}), "routes.dst"),
            (
                json!({"subnet": "10.9.0.0/16", "podAffinity": {"matchExpressions": [{"key": "k", "operator": "Near"}]}}),
                "podAffinity",
            ),
        ] {
            let why = pool(&stored(spec, Value::Null)).unwrap_err();
            assert!(why.contains(field), "{why}");
        }
        let why = pool(&stored(json!({"subnet": "10.9.0.0/16"}), json!({"allocatedIPs": "["}))).unwrap_err();
        assert!(why.contains("allocatedIPs"), "{why}");
        let followed = Followed::new(stored(json!({"subnet": "x"}), Value::Null));
        assert_eq!(followed.pool(), None);
    }

    #[test]
    fn a_wrong_range_does_not_lift_the_other_reservations() {
        let stored: Stored<ReservedIP> = serde_json::from_value(json!({
            "metadata": {"name": "r"}, "spec": {"ips": ["x", "10.9.0.1"]},
        }))
        .unwrap();
        let reserved = reserved(stored).unwrap();
        assert_eq!((reserved.name.as_str(), reserved.ips.len(), reserved.terminating), ("r", 1, false));
    }
}
