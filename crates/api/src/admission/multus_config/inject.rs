//! Networks that are injected into pods by their group must have what is injected: a resource, and pools.

use super::annotation_field;
use crate::admission::FieldError;
use crate::spider::multus_config::{IppoolNames, MultusConfigSpec, cni_type};
use crate::spider::{SpiderMultusConfig, annotation};

/// The rules of the two annotations.
pub(super) fn check(config: &SpiderMultusConfig) -> Option<FieldError> {
    let has = |key: &str| config.metadata.annotations.contains_key(key);
    let key = [annotation::RDMA_RESOURCE_INJECT, annotation::NETWORK_RESOURCE_INJECT]
        .into_iter()
        .find(|key| has(key))?;
    let refuse = |why: String| Some(FieldError::forbidden(annotation_field(key), why));
    let cni_type = config.spec.cni_type();
    let Some((resource, pools)) = resource_and_pools(&config.spec) else {
        return refuse(format!("a network of cniType {cni_type} cannot be injected"));
    };
    let has_resource = !resource.unwrap_or_default().is_empty();
    let has_pools = pools.is_some_and(|pools| !pools.ipv4.is_empty() || !pools.ipv6.is_empty());
    let is_rdma = key == annotation::RDMA_RESOURCE_INJECT;
    if is_rdma && !has_resource {
        return refuse("the network names no resource".to_owned());
    }
    if has_resource && !has_pools {
        return refuse("the network names no pool in ippools".to_owned());
    }
    None
}

/// `None` for a type that cannot be injected, or whose object is missing.
fn resource_and_pools(spec: &MultusConfigSpec) -> Option<(Option<&str>, Option<&IppoolNames>)> {
    match spec.cni_type() {
        cni_type::MACVLAN => {
            spec.macvlan.as_ref().map(|c| (c.rdma_resource_name.as_deref(), c.ippools.as_ref()))
        }
        cni_type::IPVLAN => {
            spec.ipvlan.as_ref().map(|c| (c.rdma_resource_name.as_deref(), c.ippools.as_ref()))
        }
        cni_type::VLAN => spec.vlan.as_ref().map(|c| (c.rdma_resource_name.as_deref(), c.ippools.as_ref())),
        cni_type::SRIOV => spec.sriov.as_ref().map(|c| (c.resource_name.as_deref(), c.ippools.as_ref())),
        cni_type::IB_SRIOV => spec.ibsriov.as_ref().map(|c| (c.resource_name.as_deref(), c.ippools.as_ref())),
        cni_type::IPOIB => spec.ipoib.as_ref().map(|c| (c.master.as_deref(), c.ippools.as_ref())),
        _ => None,
    }
}
