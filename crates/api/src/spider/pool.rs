//! SpiderIPPool: addresses of one subnet that pods may get (spec/spiderpool.md 2.1).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::meta::{LabelSelector, or_default};
use crate::spider::{Object, Route, SpiderKind};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IPPool;

/// A pool of addresses.
pub type SpiderIPPool = Object<IPPool>;

impl SpiderKind for IPPool {
    const KIND: &'static str = "SpiderIPPool";
    const PLURAL: &'static str = "spiderippools";
    const SINGULAR: &'static str = "spiderippool";
    const SHORT_NAME: &'static str = "sp";
    const NAMESPACED: bool = false;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spiderippools.yaml");
    type Spec = PoolSpec;
    type Status = PoolStatus;
}

/// Which addresses, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolSpec {
    /// 4 or 6; the webhook derives it from the subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<i64>,
    /// The prefix that addresses get their length from.
    pub subnet: String,
    /// Single addresses or `first-last`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// What of `ips` is not handed out.
    #[serde(rename = "excludeIPs", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub exclude_ips: Vec<String>,
    /// The gateway that pods get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Routes that pods get. Absent is not the same as empty: an empty list inherits nothing from a SpiderSubnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// For pods with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<LabelSelector>,
    /// For pods in namespaces with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_affinity: Option<LabelSelector>,
    /// For pods on nodes with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<LabelSelector>,
    /// For pods in these namespaces; beats `namespaceAffinity`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub namespace_name: Vec<String>,
    /// For pods on these nodes; beats `nodeAffinity`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub node_name: Vec<String>,
    /// For interfaces of these NADs, `namespace/name` or `name`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub multus_name: Vec<String>,
    /// Whether pods that ask for nothing get addresses from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Whether nothing new is handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// Written by releases up to 0.9; read and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i64>,
}

/// What is handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolStatus {
    /// JSON text: an object from address to the record of its owner. Absent when nothing is handed out.
    #[serde(rename = "allocatedIPs", skip_serializing_if = "Option::is_none")]
    pub allocated_ips: Option<String>,
    /// How many addresses there are; ends at the largest 64-bit number.
    #[serde(rename = "totalIPCount", skip_serializing_if = "Option::is_none")]
    pub total_ip_count: Option<i64>,
    /// How many are handed out.
    #[serde(rename = "allocatedIPCount", skip_serializing_if = "Option::is_none")]
    pub allocated_ip_count: Option<i64>,
}

impl PoolStatus {
    /// The addresses that are handed out, without their records. Keys that are no addresses are left out.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub fn allocated_addresses(&self) -> Result<Vec<IpAddr>, serde_json::Error> {
        let text = self.allocated_ips.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let records: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_str(text.unwrap_or("null"))?;
        Ok(records.unwrap_or_default().keys().filter_map(|key| key.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_use_are_the_keys_of_the_text() {
        let of = |text: Option<&str>| {
            PoolStatus { allocated_ips: text.map(str::to_owned), ..PoolStatus::default() }
                .allocated_addresses()
        };
        for nothing in [None, Some(""), Some("null"), Some("{}")] {
            assert!(of(nothing).unwrap().is_empty());
        }
        let one: IpAddr = "10.9.0.7".parse().unwrap();
        assert_eq!(of(Some(r#"{"10.9.0.7":{"pod":"a/b"},"x":1}"#)).unwrap(), [one]);
        assert!(of(Some("[]")).is_err());
    }
}
