//! SpiderMultusConfig: a NAD that is generated (spec/spiderpool.md 2.6).

use serde::{Deserialize, Serialize};

use crate::spider::{CoordinatorSpec, Nothing, Object, SpiderKind};

mod interfaces;

pub use interfaces::{
    BondConfig, IbSriovConfig, IpoibConfig, IppoolNames, MasterConfig, OldPools, OvsConfig, SriovConfig,
    Trunk, VlanConfig,
};

/// The kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MultusConfig;

/// A network, from which the controller makes a NAD.
pub type SpiderMultusConfig = Object<MultusConfig>;

impl SpiderKind for MultusConfig {
    const KIND: &'static str = "SpiderMultusConfig";
    const PLURAL: &'static str = "spidermultusconfigs";
    const SINGULAR: &'static str = "spidermultusconfig";
    const SHORT_NAME: &'static str = "smc";
    const NAMESPACED: bool = true;
    const CRD: &'static str = include_str!("../../crds/spiderpool.spidernet.io_spidermultusconfigs.yaml");
    type Spec = MultusConfigSpec;
    type Status = Nothing;
}

/// Values of `spec.cniType`.
pub mod cni_type {
    /// A macvlan interface.
    pub const MACVLAN: &str = "macvlan";
    /// An ipvlan interface.
    pub const IPVLAN: &str = "ipvlan";
    /// A VLAN interface.
    pub const VLAN: &str = "vlan";
    /// A virtual function.
    pub const SRIOV: &str = "sriov";
    /// A port of Open vSwitch.
    pub const OVS: &str = "ovs";
    /// A virtual function of InfiniBand.
    pub const IB_SRIOV: &str = "ib-sriov";
    /// IP over InfiniBand.
    pub const IPOIB: &str = "ipoib";
    /// Whatever the text says.
    pub const CUSTOM: &str = "custom";
}

/// The network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MultusConfigSpec {
    /// See [`cni_type`]; absent means `custom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cni_type: Option<String>,
    /// For `macvlan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macvlan: Option<MasterConfig>,
    /// For `ipvlan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipvlan: Option<MasterConfig>,
    /// For `vlan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanConfig>,
    /// For `sriov`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov: Option<SriovConfig>,
    /// For `ovs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovs: Option<OvsConfig>,
    /// For `ib-sriov`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ibsriov: Option<IbSriovConfig>,
    /// For `ipoib`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipoib: Option<IpoibConfig>,
    /// For `custom`: the text of a CNI configuration.
    #[serde(rename = "customCNI", skip_serializing_if = "Option::is_none")]
    pub custom_cni: Option<String>,
    /// Whether `coordinator` is chained; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_coordinator: Option<bool>,
    /// Whether there is no IPAM at all.
    #[serde(rename = "disableIPAM", skip_serializing_if = "Option::is_none")]
    pub disable_ipam: Option<bool>,
    /// What differs from the SpiderCoordinator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<CoordinatorSpec>,
    /// Further plugins of the chain, each the text of a JSON object with a `type`.
    #[serde(rename = "chainCNIJsonData", skip_serializing_if = "Option::is_none")]
    pub chain_cni_json_data: Option<Vec<String>>,
}

impl MultusConfigSpec {
    /// The type, with its default.
    pub fn cni_type(&self) -> &str {
        self.cni_type.as_deref().unwrap_or(cni_type::CUSTOM)
    }
}
