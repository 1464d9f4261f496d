//! Virtual functions of an SR-IOV device, as the physical function's link rules over them (`IFLA_VFINFO_LIST`).
//!
//! A driver may report less than it accepts, so everything that is observed of a function is optional.

use serde::{Deserialize, Serialize};

use crate::{IfName, Mac};

/// One setting of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VfAttr {
    /// The tag that the device adds to what the function sends, and takes off what it receives.
    Vlan(VfVlan),
    /// The administrative hardware address; all zero: none.
    Mac(Mac),
    /// How much it may send.
    Rate(VfRate),
    /// Whether frames from other addresses than its own are dropped.
    SpoofCheck(bool),
    /// Whether it may do what concerns others: change its address, receive everything.
    Trust(bool),
    /// Its carrier.
    LinkState(VfLinkState),
}

impl VfAttr {
    /// Whether both are the same setting, whatever their values.
    pub fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The order in which settings go back (spec/sriov.md 5): drivers refuse some of them to a function that has lost others.
    pub(crate) fn turn_back(&self) -> u8 {
        match self {
            Self::Vlan(_) => 0,
            Self::SpoofCheck(_) => 1,
            Self::Mac(_) => 2,
            Self::Trust(_) => 3,
            Self::Rate(_) => 4,
            Self::LinkState(_) => 5,
        }
    }
}

/// A VLAN of a function. Id 0: no tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfVlan {
    /// 0 to 4094.
    pub id: u16,
    /// Priority, 0 to 7.
    pub qos: u8,
    /// Kind of tag.
    pub protocol: VlanProtocol,
}

/// Kinds of VLAN tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VlanProtocol {
    /// 802.1Q, the customers' tag.
    #[default]
    Dot1q,
    /// 802.1ad, the service provider's tag.
    Dot1ad,
}

impl VlanProtocol {
    /// The EtherType.
    pub fn number(self) -> u16 {
        match self {
            Self::Dot1q => 0x8100,
            Self::Dot1ad => 0x88a8,
        }
    }

    /// By its EtherType.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Dot1q, Self::Dot1ad].into_iter().find(|protocol| protocol.number() == number)
    }
}

/// Bounds of what a function sends, in Mbit/s; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfRate {
    /// What it is guaranteed.
    pub min: u32,
    /// What it may not exceed.
    pub max: u32,
}

/// What decides on a function's carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfLinkState {
    /// The physical function's carrier.
    #[default]
    Auto,
    /// Always there.
    Enable,
    /// Never there.
    Disable,
}

impl VfLinkState {
    /// The kernel's number (`IFLA_VF_LINK_STATE_…`).
    pub fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Enable => 1,
            Self::Disable => 2,
        }
    }

    /// By the kernel's number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Auto, Self::Enable, Self::Disable].into_iter().find(|state| state.number() == number)
    }
}

/// A function as its physical function's link shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfFact {
    /// The physical function's link.
    pub link: IfName,
    /// Its number, from 0.
    pub index: u32,
    /// Administrative hardware address.
    pub mac: Option<Mac>,
    /// VLAN.
    pub vlan: Option<VfVlan>,
    /// Rates.
    pub rate: Option<VfRate>,
    /// Spoof check.
    pub spoof_check: Option<bool>,
    /// Trust.
    pub trust: Option<bool>,
    /// Link state.
    pub link_state: Option<VfLinkState>,
}

impl VfFact {
    /// A function of which nothing is reported.
    pub fn new(link: &IfName, index: u32) -> Self {
        let link = link.clone();
        Self {
            link,
            index,
            mac: None,
            vlan: None,
            rate: None,
            spoof_check: None,
            trust: None,
            link_state: None,
        }
    }

    /// The value of the setting that `like` is about, if the driver reports it.
    pub fn setting(&self, like: &VfAttr) -> Option<VfAttr> {
        match like {
            VfAttr::Vlan(_) => self.vlan.map(VfAttr::Vlan),
            VfAttr::Mac(_) => self.mac.map(VfAttr::Mac),
            VfAttr::Rate(_) => self.rate.map(VfAttr::Rate),
            VfAttr::SpoofCheck(_) => self.spoof_check.map(VfAttr::SpoofCheck),
            VfAttr::Trust(_) => self.trust.map(VfAttr::Trust),
            VfAttr::LinkState(_) => self.link_state.map(VfAttr::LinkState),
        }
    }
}
