//! What a SpiderMultusConfig is completed with.

use crate::admission::coordination;
use crate::spider::multus_config::{
    BondConfig, IbSriovConfig, IpoibConfig, IppoolNames, MasterConfig, MultusConfigSpec, OvsConfig,
    SriovConfig, VlanConfig, cni_type,
};
use crate::spider::{CoordinatorSpec, SpiderMultusConfig, annotation};

/// Fills in defaults, takes over old spellings, and copies the annotations by which pods find the network to labels.
pub fn mutate(config: &mut SpiderMultusConfig) {
    if config.metadata.is_terminating() {
        return;
    }
    complete(&mut config.spec);
    for key in [annotation::RDMA_RESOURCE_INJECT, annotation::NETWORK_RESOURCE_INJECT] {
        if let Some(value) = config.metadata.annotations.get(key) {
            config.metadata.labels.insert(key.to_owned(), value.clone());
        }
    }
}

/// Fills in the defaults of a spec.
pub fn complete(spec: &mut MultusConfigSpec) {
    spec.cni_type.get_or_insert_with(|| cni_type::CUSTOM.to_owned());
    spec.chain_cni_json_data.get_or_insert_with(Vec::new);
    if spec.cni_type() == cni_type::CUSTOM {
        spec.custom_cni.get_or_insert_with(String::new);
        spec.coordinator = None;
        spec.enable_coordinator = Some(false);
        return;
    }
    for config in [&mut spec.macvlan, &mut spec.ipvlan].into_iter().flatten() {
        complete_master(config);
    }
    spec.vlan.iter_mut().for_each(complete_vlan);
    spec.sriov.iter_mut().for_each(complete_sriov);
    spec.ibsriov.iter_mut().for_each(complete_ib_sriov);
    spec.ipoib.iter_mut().for_each(|IpoibConfig { ippools, .. }| complete_pools(ippools));
    spec.ovs.iter_mut().for_each(|OvsConfig { vlan, ippools, .. }| {
        vlan.get_or_insert(0);
        complete_pools(ippools);
    });
    match &mut spec.coordinator {
        Some(block) => {
            coordination::normalise(block);
            complete_coordinator(block, false);
        }
        none => complete_coordinator(none.insert(CoordinatorSpec::default()), true),
    }
}

fn complete_pools(pools: &mut Option<IppoolNames>) {
    pools.get_or_insert_with(IppoolNames::default);
}

fn complete_bond(bond: &mut Option<BondConfig>) {
    if let Some(bond) = bond {
        bond.options.get_or_insert_with(String::new);
    }
}

fn complete_master(config: &mut MasterConfig) {
    config.vlan_id.get_or_insert(0);
    config.mtu.get_or_insert(0);
    config.rdma_resource_name.get_or_insert_with(String::new);
    complete_bond(&mut config.bond);
    complete_pools(&mut config.ippools);
    let Some(old) = config.spiderpool_config_pools.take() else { return };
    let pools = config.ippools.get_or_insert_with(IppoolNames::default);
    for (pools, old) in [(&mut pools.ipv4, old.ipv4), (&mut pools.ipv6, old.ipv6)] {
        if !old.is_empty() {
            *pools = old;
        }
    }
}

fn complete_vlan(config: &mut VlanConfig) {
    let mode = config.vlan_mode.get_or_insert_with(|| "manual".to_owned());
    if mode == "manual" {
        config.vlan_id.get_or_insert(0);
    }
    config.mtu.get_or_insert(0);
    config.rdma_resource_name.get_or_insert_with(String::new);
    complete_bond(&mut config.bond);
    complete_pools(&mut config.ippools);
}

fn complete_sriov(config: &mut SriovConfig) {
    config.vlan_id.get_or_insert(0);
    config.mtu.get_or_insert(0);
    config.min_tx_rate_mbps.get_or_insert(0);
    config.max_tx_rate_mbps.get_or_insert(0);
    config.resource_name.get_or_insert_with(String::new);
    let isolation = config.rdma_isolation.get_or_insert(false);
    *isolation |= config.enable_rdma.take().unwrap_or(false);
    complete_pools(&mut config.ippools);
    if let Some(pools) = &mut config.ippools {
        pools.match_master_subnet.get_or_insert(false);
    }
}

fn complete_ib_sriov(config: &mut IbSriovConfig) {
    config.pkey.get_or_insert_with(String::new);
    config.enable_ib_kubernetes.get_or_insert(false);
    config.rdma_isolation.get_or_insert(true);
    config.link_state.get_or_insert_with(|| "enable".to_owned());
    complete_pools(&mut config.ippools);
}

fn complete_coordinator(block: &mut CoordinatorSpec, tune_pod_routes: bool) {
    block.mode.get_or_insert_with(|| "auto".to_owned());
    block.tune_pod_routes.get_or_insert(tune_pod_routes);
    block.pod_rp_filter.get_or_insert(0);
    block.hijack_cidr.get_or_insert_with(Vec::new);
    block.policy_routes.get_or_insert_with(Vec::new);
    for text in [&mut block.pod_mac_prefix, &mut block.pod_default_route_nic, &mut block.veth_link_address] {
        text.get_or_insert_with(String::new);
    }
}
