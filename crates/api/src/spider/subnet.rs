//! SpiderSubnet: addresses that pools are made of (spec/spiderpool.md 2.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::spider::{Object, Route, SpiderKind};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subnet;

/// A subnet whose addresses are given to pools.
pub type SpiderSubnet = Object<Subnet>;

impl SpiderKind for Subnet {
    const KIND: &'static str = "SpiderSubnet";
    const PLURAL: &'static str = "spidersubnets";
    const SINGULAR: &'static str = "spidersubnet";
    const SHORT_NAME: &'static str = "ss";
    const NAMESPACED: bool = false;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spidersubnets.yaml");
    type Spec = SubnetSpec;
    type Status = SubnetStatus;
}

/// Which addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubnetSpec {
    /// 4 or 6; the webhook derives it from the subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<i64>,
    /// The prefix.
    pub subnet: String,
    /// Single addresses or `first-last`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// What of `ips` no pool gets.
    #[serde(rename = "excludeIPs", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub exclude_ips: Vec<String>,
    /// The gateway that pools inherit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The routes that pools inherit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// Written by releases up to 0.9; read and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i64>,
}

/// What pools have got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubnetStatus {
    /// JSON text of [`ControlledPools`].
    #[serde(rename = "controlledIPPools", skip_serializing_if = "Option::is_none")]
    pub controlled_ip_pools: Option<String>,
    /// How many addresses there are.
    #[serde(rename = "totalIPCount", skip_serializing_if = "Option::is_none")]
    pub total_ip_count: Option<i64>,
    /// How many are given to pools, whether pods have them or not.
    #[serde(rename = "allocatedIPCount", skip_serializing_if = "Option::is_none")]
    pub allocated_ip_count: Option<i64>,
}

/// From pool to what it got.
pub type ControlledPools = BTreeMap<String, ControlledPool>;

/// What one pool got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlledPool {
    /// Single addresses or `first-last`.
    #[serde(deserialize_with = "or_default")]
    pub ips: Vec<String>,
    /// For automatic pools only: the application, `apps_v1_Deployment_ns_name`, without the group for core kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
}

impl SubnetStatus {
    /// What pools have got.
    ///
    /// # Errors
    /// The text is no JSON of that shape.
    pub fn controlled_pools(&self) -> Result<ControlledPools, serde_json::Error> {
        match self.controlled_ip_pools.as_deref().filter(|text| !text.is_empty()) {
            None => Ok(ControlledPools::new()),
            Some(text) => serde_json::from_str::<Option<_>>(text).map(Option::unwrap_or_default),
        }
    }

    /// Notes what pools have got; nothing becomes an absent field.
    pub fn set_controlled_pools(&mut self, pools: &ControlledPools) {
        // A map with string keys of strings cannot fail to become JSON.
        self.controlled_ip_pools = if pools.is_empty() { None } else { serde_json::to_string(pools).ok() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controlled_pools_are_json_in_a_text() {
        let text = r#"{"auto4-a-eth0-12345":{"ips":["10.0.0.1-10.0.0.2"],"application":"apps_v1_Deployment_ns_a"},"p":{"ips":["10.0.0.9"]}}"#;
        let mut status =
            SubnetStatus { controlled_ip_pools: Some(text.to_owned()), ..SubnetStatus::default() };
        let pools = status.controlled_pools().unwrap();
        assert_eq!(pools["p"].application, None);
        status.set_controlled_pools(&pools);
        assert_eq!(status.controlled_ip_pools.as_deref(), Some(text));
        status.set_controlled_pools(&ControlledPools::new());
        assert_eq!((status.controlled_ip_pools.clone(), status.controlled_pools().unwrap().len()), (None, 0));
        status.controlled_ip_pools = Some("null".to_owned());
        assert!(status.controlled_pools().unwrap().is_empty());
        status.controlled_ip_pools = Some("[".to_owned());
        assert!(status.controlled_pools().is_err());
    }
}
