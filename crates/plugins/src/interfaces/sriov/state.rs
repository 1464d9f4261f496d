//! `<container id>-<interface>`: the replaced plugin's file about an attachment (spec/sriov.md 3). Ours can be read by it, and
//! the other way round.

use polynic_net::{
    Attr, Change, Facts, IfName, LinkRef, Mac, Place, VfAttr, VfFact, VfLinkState, VfRate, VfVlan,
    VlanProtocol,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::Wanted;
use super::function::Function;
use crate::Call;

/// The effective configuration, and what the function was before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    /// The network.
    pub(super) name: String,
    r#type: String,
    ipam: Value,
    #[serde(rename = "OrigVfState")]
    before: Before,
    #[serde(rename = "Master")]
    pub(super) master: String,
    #[serde(rename = "MAC")]
    mac: String,
    #[serde(rename = "MTU", skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    vlan: Option<u16>,
    #[serde(rename = "vlanQoS")]
    vlan_qos: Option<u8>,
    #[serde(rename = "vlanProto")]
    vlan_proto: Option<String>,
    /// The function's address.
    #[serde(rename = "deviceID")]
    pub(super) device: String,
    #[serde(rename = "VFID")]
    pub(super) index: u32,
    min_tx_rate: Option<u32>,
    max_tx_rate: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    spoofchk: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    trust: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_state: String,
}

/// What the function was before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Before {
    #[serde(rename = "HostIFName")]
    link: String,
    #[serde(rename = "SpoofChk")]
    spoof_check: bool,
    trust: bool,
    #[serde(rename = "AdminMAC")]
    admin_mac: String,
    #[serde(rename = "EffectiveMAC")]
    effective_mac: String,
    vlan: u16,
    #[serde(rename = "VlanQoS")]
    vlan_qos: u8,
    vlan_proto: u16,
    min_tx_rate: u32,
    max_tx_rate: u32,
    link_state: u32,
    #[serde(rename = "MTU")]
    mtu: u32,
}

impl State {
    /// What is written about an attachment, from what was seen before it was made.
    pub(super) fn new(call: &Call<'_>, wanted: &Wanted, function: &Function, facts: &Facts) -> Self {
        let ipam = call.conf.ipam().map(|ipam| Value::Object(ipam.clone()));
        let before = Before::new(function, facts);
        Self {
            cni_version: call.conf.cni_version.as_str().to_owned(),
            name: call.network().to_owned(),
            r#type: call.plugin.to_owned(),
            ipam: ipam.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            mtu: Some(before.mtu).filter(|mtu| *mtu != 0),
            before,
            master: function.pf.to_string(),
            mac: wanted.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            vlan: wanted.vlan.map(|vlan| vlan.id),
            vlan_qos: wanted.vlan.map(|vlan| vlan.qos),
            vlan_proto: wanted.vlan.map(|vlan| protocol_name(vlan.protocol).to_owned()),
            device: wanted.device.clone(),
            index: function.index,
            min_tx_rate: wanted.rate.map(|rate| rate.min),
            max_tx_rate: wanted.rate.map(|rate| rate.max),
            spoofchk: switch(wanted.spoof_check),
            trust: switch(wanted.trust),
            link_state: wanted.link_state.map(|state| state_name(state).to_owned()).unwrap_or_default(),
        }
    }

    /// What the physical function is to be told: what was configured goes back, and the administrative address.
    pub(super) fn resets(&self, function: &Function) -> Vec<Change> {
        let before = &self.before;
        let rate = VfRate { min: before.min_tx_rate, max: before.max_tx_rate };
        let settings = [
            self.vlan.map(|_| VfAttr::Vlan(before.vlan())),
            (!self.spoofchk.is_empty()).then_some(VfAttr::SpoofCheck(before.spoof_check)),
            before.admin_mac.parse().ok().map(VfAttr::Mac),
            (!self.trust.is_empty()).then_some(VfAttr::Trust(before.trust)),
            self.min_tx_rate.or(self.max_tx_rate).map(|_| VfAttr::Rate(rate)),
            self.link_state_before().map(VfAttr::LinkState),
        ];
        let change = |attr: VfAttr| {
            let attr = Attr::Vf { index: function.index, attr };
            Change::unsteady(Place::Host, &function.pf, attr.clone(), attr)
        };
        settings.into_iter().flatten().map(change).collect()
    }

    fn link_state_before(&self) -> Option<VfLinkState> {
        let before = VfLinkState::from_number(self.before.link_state).unwrap_or_default();
        (!self.link_state.is_empty()).then_some(before)
    }

    /// What brings the function's link home, wherever it is: its address, its MTU, then its name.
    pub(super) fn homecoming(&self, link: &LinkRef, spare: IfName) -> Vec<Change> {
        let before = &self.before;
        let mac = before.effective_mac.parse::<Mac>().ok().map(Attr::Mac);
        let mtu = (before.mtu != 0).then_some(Attr::Mtu(before.mtu));
        let down = Some(Attr::Up(false));
        let attrs = [down, mac, mtu].into_iter().flatten();
        let mut changes: Vec<Change> =
            attrs.map(|attr| Change::unsteady(link.place, &link.name, attr.clone(), attr)).collect();
        if let Some(name) = self.home_name() {
            changes.push(Change::lend_link(link.clone(), Place::Host, &name, spare));
        }
        changes
    }

    /// What the function's link was called on the node; none if it had no link.
    pub(super) fn home_name(&self) -> Option<IfName> {
        IfName::new(&self.before.link).ok()
    }
}

impl Before {
    fn new(function: &Function, facts: &Facts) -> Self {
        let vf = facts.host.vf(&function.pf, function.index).cloned();
        let vf = vf.unwrap_or_else(|| VfFact::new(&function.pf, function.index));
        let link = function.link.as_ref().and_then(|link| facts.host.link(link));
        let vlan = vf.vlan.unwrap_or_default();
        let rate = vf.rate.unwrap_or_default();
        Self {
            link: function.link.as_ref().map(ToString::to_string).unwrap_or_default(),
            spoof_check: vf.spoof_check.unwrap_or(true),
            trust: vf.trust.unwrap_or_default(),
            admin_mac: vf.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            effective_mac: link.and_then(|l| l.mac).map(|mac| mac.to_string()).unwrap_or_default(),
            vlan: vlan.id,
            vlan_qos: vlan.qos,
            vlan_proto: vlan.protocol.number(),
            min_tx_rate: rate.min,
            max_tx_rate: rate.max,
            link_state: vf.link_state.unwrap_or_default().number(),
            mtu: link.map(|l| l.mtu).unwrap_or_default(),
        }
    }

    /// Older files name no protocol; on a big-endian machine the other program swaps its bytes.
    fn vlan(&self) -> VfVlan {
        let protocol = VlanProtocol::from_number(self.vlan_proto)
            .or_else(|| VlanProtocol::from_number(self.vlan_proto.swap_bytes()));
        VfVlan { id: self.vlan, qos: self.vlan_qos, protocol: protocol.unwrap_or_default() }
    }
}

fn switch(on: Option<bool>) -> String {
    on.map(|on| if on { "on" } else { "off" }).unwrap_or_default().to_owned()
}

fn protocol_name(protocol: VlanProtocol) -> &'static str {
    match protocol {
        VlanProtocol::Dot1q => "802.1q",
        VlanProtocol::Dot1ad => "802.1ad",
    }
}

fn state_name(state: VfLinkState) -> &'static str {
    match state {
        VfLinkState::Auto => "auto",
        VfLinkState::Enable => "enable",
        VfLinkState::Disable => "disable",
    }
}
