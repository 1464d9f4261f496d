//! The plugins of the chain. Fields stand in the order in which they are printed.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{master_name, raw};
use crate::spider::multus_config::{BondConfig, IppoolNames, MultusConfigSpec, Trunk, cni_type};
use crate::spider::{CoordinatorSpec, Route};

#[derive(Serialize)]
struct Ipam<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    default_ipv4_ippool: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    default_ipv6_ippool: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    match_master_subnet: bool,
}

fn ipam(spec: &MultusConfigSpec, pools: Option<&IppoolNames>) -> Option<Box<RawValue>> {
    if spec.disable_ipam == Some(true) {
        return None;
    }
    let is_sriov = spec.cni_type() == cni_type::SRIOV;
    raw(&Ipam {
        r#type: "spiderpool",
        default_ipv4_ippool: pools.map_or(&[], |pools| &pools.ipv4),
        default_ipv6_ippool: pools.map_or(&[], |pools| &pools.ipv6),
        match_master_subnet: is_sriov && pools.is_some_and(|pools| pools.match_master_subnet == Some(true)),
    })
}

/// What every main plugin ends with.
type IpamField = Option<Box<RawValue>>;

#[derive(Serialize)]
struct Macvlan {
    r#type: &'static str,
    master: String,
    mode: &'static str,
    mtu: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
struct Ipvlan {
    r#type: &'static str,
    master: String,
    mtu: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vlan<'a> {
    r#type: &'static str,
    master: String,
    vlan_mode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_id: Option<i64>,
    mtu: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
struct Sriov {
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tx_rate: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tx_rate: Option<i64>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
struct IbSriov<'a> {
    r#type: &'static str,
    pkey: &'a str,
    link_state: &'a str,
    #[serde(rename = "rdmaIsolation")]
    rdma_isolation: bool,
    #[serde(rename = "ibKubernetesEnabled")]
    ib_kubernetes_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
struct Ipoib<'a> {
    r#type: &'static str,
    master: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
}

#[derive(Serialize)]
struct Ovs<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<i64>,
    r#type: &'static str,
    bridge: &'a str,
    #[serde(rename = "deviceID", skip_serializing_if = "str::is_empty")]
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: IpamField,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    trunk: &'a [Trunk],
}

/// The plugin that makes the pod's interface.
pub(super) fn main(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    match spec.cni_type() {
        cni_type::MACVLAN | cni_type::IPVLAN => child_of_master(spec),
        cni_type::VLAN => vlan(spec),
        cni_type::SRIOV => sriov(spec),
        cni_type::IB_SRIOV => ib_sriov(spec),
        cni_type::IPOIB => {
            let config = spec.ipoib.as_ref()?;
            let master = config.master.as_deref().unwrap_or_default();
            raw(&Ipoib { r#type: "ipoib", master, ipam: ipam(spec, config.ippools.as_ref()) })
        }
        cni_type::OVS => ovs(spec),
        _ => None,
    }
}

fn child_of_master(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let is_macvlan = spec.cni_type() == cni_type::MACVLAN;
    let config = if is_macvlan { spec.macvlan.as_ref()? } else { spec.ipvlan.as_ref()? };
    let master = master_name(&config.master, config.bond.as_ref(), config.vlan_id.unwrap_or(0));
    let mtu = config.mtu.unwrap_or(0);
    let ipam = ipam(spec, config.ippools.as_ref());
    if is_macvlan {
        raw(&Macvlan { r#type: "macvlan", master, mode: "bridge", mtu, ipam })
    } else {
        raw(&Ipvlan { r#type: "ipvlan", master, mtu, ipam })
    }
}

fn vlan(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let config = spec.vlan.as_ref()?;
    raw(&Vlan {
        r#type: "vlan",
        master: master_name(&config.master, config.bond.as_ref(), 0),
        vlan_mode: config.vlan_mode.as_deref().unwrap_or("manual"),
        vlan_id: config.vlan_id,
        mtu: config.mtu.unwrap_or(0),
        ipam: ipam(spec, config.ippools.as_ref()),
    })
}

fn sriov(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let config = spec.sriov.as_ref()?;
    raw(&Sriov {
        vlan: config.vlan_id,
        min_tx_rate: config.min_tx_rate_mbps,
        max_tx_rate: config.max_tx_rate_mbps,
        r#type: "sriov",
        ipam: ipam(spec, config.ippools.as_ref()),
    })
}

fn ib_sriov(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let config = spec.ibsriov.as_ref()?;
    raw(&IbSriov {
        r#type: "ib-sriov",
        pkey: config.pkey.as_deref().unwrap_or_default(),
        link_state: config.link_state.as_deref().unwrap_or("enable"),
        rdma_isolation: config.rdma_isolation.unwrap_or(true),
        ib_kubernetes_enabled: config.enable_ib_kubernetes.unwrap_or(false),
        ipam: ipam(spec, config.ippools.as_ref()),
    })
}

fn ovs(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let config = spec.ovs.as_ref()?;
    raw(&Ovs {
        vlan: config.vlan,
        r#type: "ovs",
        bridge: &config.bridge,
        device_id: config.device_id.as_deref().unwrap_or_default(),
        ipam: ipam(spec, config.ippools.as_ref()),
        trunk: &config.trunk,
    })
}

/// Makes bonds and VLANs of the node.
#[derive(Serialize)]
pub(super) struct Ifacer<'a> {
    #[serde(rename = "vlanID", skip_serializing_if = "Option::is_none")]
    vlan_id: Option<i64>,
    r#type: &'static str,
    interfaces: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    bond: Option<&'a BondConfig>,
}

impl<'a> Ifacer<'a> {
    pub(super) fn new(vlan_id: i64, interfaces: &'a [String], bond: Option<&'a BondConfig>) -> Self {
        Self { vlan_id: Some(vlan_id).filter(|id| *id != 0), r#type: "ifacer", interfaces, bond }
    }
}

/// Sets the MTU of a virtual function.
#[derive(Serialize)]
pub(super) struct Tuning {
    r#type: &'static str,
    mtu: i64,
}

impl Tuning {
    pub(super) fn mtu(mtu: i64) -> Self {
        Self { r#type: "tuning", mtu }
    }
}

/// Ties the pod's networks together. What is not printed comes from the SpiderCoordinator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Coordinator<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_queue_len: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    veth_link_address: Option<&'a str>,
    #[serde(rename = "vethMTU", skip_serializing_if = "Option::is_none")]
    veth_mtu: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tune_pod_routes: Option<bool>,
    #[serde(rename = "podMACPrefix", skip_serializing_if = "Option::is_none")]
    pod_mac_prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_default_route_nic: Option<&'a str>,
    #[serde(rename = "podRPFilter", skip_serializing_if = "Option::is_none")]
    pod_rp_filter: Option<i64>,
    #[serde(rename = "hijackCIDR", skip_serializing_if = "<[_]>::is_empty")]
    hijack_cidr: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policy_routes: &'a [Route],
}

impl<'a> Coordinator<'a> {
    pub(super) fn of(block: &'a CoordinatorSpec) -> Self {
        fn given(text: Option<&String>) -> Option<&str> {
            text.map(String::as_str).filter(|text| !text.is_empty())
        }
        Self {
            tx_queue_len: block.tx_queue_len,
            veth_link_address: given(block.veth_link_address.as_ref()),
            veth_mtu: block.veth_mtu,
            tune_pod_routes: block.tune_pod_routes,
            pod_mac_prefix: given(block.pod_mac_prefix.as_ref()),
            mode: given(block.mode.as_ref()),
            r#type: "coordinator",
            pod_default_route_nic: given(block.pod_default_route_nic.as_ref()),
            // The webhook fills it in, so that its presence alone says nothing.
            pod_rp_filter: block.pod_rp_filter.filter(|_| block.pod_cidr_type.is_some()),
            hijack_cidr: block.hijack_cidr.as_deref().unwrap_or_default(),
            policy_routes: block.policy_routes.as_deref().unwrap_or_default(),
        }
    }
}
