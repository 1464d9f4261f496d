//! Virtual functions: what a physical function's link says of them, and settings for them.

use polynic_net::{IfName, Mac, VfAttr, VfFact, VfLinkState, VfRate, VfVlan, VlanProtocol};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};

use super::Failure;
use super::space::Space;
use crate::Errno;
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::{Raw, attribute, nested};

/// `RTM_SETLINK`.
const SET_LINK: u16 = 19;
/// Fixed part of a link message (`struct ifinfomsg`).
const LINK_HEADER: usize = 16;
/// Bytes for an address in `struct ifla_vf_mac`.
const MAC_ROOM: usize = 32;
/// Size of `struct ifla_vf_vlan_info`.
const VLAN_INFO: usize = 16;
/// What the kernel presets for drivers that say nothing.
const UNREPORTED: u32 = u32::MAX;

/// Attribute numbers of include/uapi/linux/if_link.h.
mod ifla {
    pub const VFINFO_LIST: u16 = 22;
    pub const VF_INFO: u16 = 1;
    pub const VF_MAC: u16 = 1;
    pub const VF_VLAN: u16 = 2;
    pub const VF_SPOOFCHK: u16 = 4;
    pub const VF_LINK_STATE: u16 = 5;
    pub const VF_RATE: u16 = 6;
    pub const VF_TRUST: u16 = 9;
    pub const VF_VLAN_LIST: u16 = 12;
    pub const VF_VLAN_INFO: u16 = 1;
}

impl Space {
    /// The functions of a link; none if there is no such link.
    pub(super) fn vfs_if_there(&mut self, link: &IfName) -> Result<Vec<VfFact>, Fault> {
        match self.vfs(link) {
            Err(fault) if fault.is(Errno::ENODEV) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    fn vfs(&mut self, link: &IfName) -> Result<Vec<VfFact>, Fault> {
        let mut message = LinkMessage::default();
        let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats]);
        message.attributes = vec![LinkAttribute::IfName(link.to_string()), mask];
        self.route.get(RouteNetlinkMessage::GetLink(message), |payload| Some(read(link, payload)))
    }

    /// Sets one setting, whatever it was. An address is insisted on, but none at all.
    pub(super) fn change_vf(&mut self, link: &IfName, index: u32, attr: &VfAttr) -> Result<(), Failure> {
        let VfAttr::Mac(mac) = attr else { return Ok(self.set_vf(link, index, attr)?) };
        let held = self.insist(|space| {
            space.set_vf(link, index, attr)?;
            let shown = space.vfs(link)?.into_iter().find(|vf| vf.index == index).and_then(|vf| vf.mac);
            Ok(*mac == Mac([0; 6]) || shown.is_none_or(|shown| shown == *mac))
        })?;
        let waited = || Failure::Waited(format!("VF {index} of {link} does not take the address {mac}"));
        if held { Ok(()) } else { Err(waited()) }
    }

    fn set_vf(&mut self, link: &IfName, index: u32, attr: &VfAttr) -> Result<(), Fault> {
        self.on_link(link, |socket, link| socket.change(request(link, index, attr), 0))
    }
}

fn request(link: u32, index: u32, attr: &VfAttr) -> Raw {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    let info = nested(ifla::VF_INFO, &setting(index, attr));
    Raw::new(SET_LINK, &header).with_attributes(&nested(ifla::VFINFO_LIST, &info))
}

fn setting(index: u32, attr: &VfAttr) -> Vec<u8> {
    let numbers = |kind, values: &[u32]| {
        let all = std::iter::once(&index).chain(values);
        attribute(kind, &all.flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>())
    };
    match attr {
        VfAttr::Mac(mac) => {
            let mut value = index.to_ne_bytes().to_vec();
            value.extend(mac.0);
            value.resize(size_of::<u32>() + MAC_ROOM, 0);
            attribute(ifla::VF_MAC, &value)
        }
        VfAttr::Vlan(vlan) => nested(ifla::VF_VLAN_LIST, &vlan_info(index, *vlan)),
        VfAttr::Rate(rate) => numbers(ifla::VF_RATE, &[rate.min, rate.max]),
        VfAttr::SpoofCheck(on) => numbers(ifla::VF_SPOOFCHK, &[u32::from(*on)]),
        VfAttr::Trust(on) => numbers(ifla::VF_TRUST, &[u32::from(*on)]),
        VfAttr::LinkState(state) => numbers(ifla::VF_LINK_STATE, &[state.number()]),
    }
}

/// `struct ifla_vf_vlan_info`: three numbers of the machine's order, then the protocol in the network's.
fn vlan_info(index: u32, vlan: VfVlan) -> Vec<u8> {
    let numbers = [index, u32::from(vlan.id), u32::from(vlan.qos)];
    let mut value: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    value.extend(vlan.protocol.number().to_be_bytes());
    value.resize(VLAN_INFO, 0);
    attribute(ifla::VF_VLAN_INFO, &value)
}

/// The functions in a link message.
fn read(link: &IfName, payload: &[u8]) -> Vec<VfFact> {
    let list = Attrs::after(payload, LINK_HEADER).nested(ifla::VFINFO_LIST);
    let infos = list.filter(|(kind, _)| *kind == ifla::VF_INFO);
    infos.filter_map(|(_, info)| function(link, Attrs::new(info))).collect()
}

/// Every attribute of a function begins with its number; the address is always there.
fn function(link: &IfName, info: Attrs<'_>) -> Option<VfFact> {
    let mac = info.get(ifla::VF_MAC)?;
    let word = |kind: u16, at: usize| info.get(kind)?.get(at * 4..).and_then(attrs::u32);
    let flag = |kind| word(kind, 1).filter(|value| *value != UNREPORTED).map(|value| value != 0);
    Some(VfFact {
        mac: mac.get(4..10).and_then(|bytes| bytes.try_into().ok()).map(Mac),
        vlan: vlan(info),
        rate: word(ifla::VF_RATE, 1).zip(word(ifla::VF_RATE, 2)).map(|(min, max)| VfRate { min, max }),
        spoof_check: flag(ifla::VF_SPOOFCHK),
        trust: flag(ifla::VF_TRUST),
        link_state: word(ifla::VF_LINK_STATE, 1).and_then(VfLinkState::from_number),
        ..VfFact::new(link, attrs::u32(mac)?)
    })
}

/// The newer attribute names the protocol; kernels before 4.9 have the older one only.
fn vlan(info: Attrs<'_>) -> Option<VfVlan> {
    let newer = info.nested(ifla::VF_VLAN_LIST).get(ifla::VF_VLAN_INFO);
    let value = newer.or_else(|| info.get(ifla::VF_VLAN))?;
    let word = |at: usize| value.get(at * 4..).and_then(attrs::u32);
    let protocol = newer.and_then(|value| value.get(12..14)?.try_into().ok()).map(u16::from_be_bytes);
    Some(VfVlan {
        id: u16::try_from(word(1)?).ok()?,
        qos: u8::try_from(word(2)?).ok()?,
        // A driver that leaves it open means the usual one.
        protocol: protocol.and_then(VlanProtocol::from_number).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::encode;

    fn bytes(attr: &VfAttr) -> Vec<u8> {
        encode(request(9, 3, attr), 0, 1)
    }

    /// Header of the message, of the link, of the list and of the function, for a setting of `length` bytes.
    fn golden(length: u8, setting: &[u8]) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            &[40 + length, 0, 0, 0, 19, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[8 + length, 0, 22, 0x80],
            &[4 + length, 0, 1, 0x80],
            setting,
        ];
        parts.concat()
    }

    /// Golden bytes: few kernels that run tests have functions. The order of numbers is that of a little-endian machine.
    #[test]
    fn settings_are_asked_for_in_these_bytes() {
        let vlan = VfVlan { id: 5, qos: 3, protocol: VlanProtocol::Dot1ad };
        let tagged = [24, 0, 12, 0x80, 20, 0, 1, 0, 3, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0x88, 0xa8, 0, 0];
        assert_eq!(bytes(&VfAttr::Vlan(vlan)), golden(24, &tagged));
        let mut addressed = [0; 40];
        addressed[..14].copy_from_slice(&[40, 0, 1, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0x55]);
        assert_eq!(bytes(&VfAttr::Mac(Mac([2, 0, 0, 0, 0, 0x55]))), golden(40, &addressed));
        let rates = [16, 0, 6, 0, 3, 0, 0, 0, 10, 0, 0, 0, 100, 0, 0, 0];
        assert_eq!(bytes(&VfAttr::Rate(VfRate { min: 10, max: 100 })), golden(16, &rates));
        for (attr, kind, value) in [
            (VfAttr::SpoofCheck(true), 4, 1),
            (VfAttr::Trust(false), 9, 0),
            (VfAttr::LinkState(VfLinkState::Disable), 5, 2),
        ] {
            assert_eq!(bytes(&attr), golden(12, &[12, 0, kind, 0, 3, 0, 0, 0, value, 0, 0, 0]), "{attr:?}");
        }
    }

    #[test]
    fn what_was_set_is_read_back() {
        let pf = IfName::new("pf").unwrap();
        let attrs = [
            VfAttr::Mac(Mac([2, 0, 0, 0, 0, 9])),
            VfAttr::Vlan(VfVlan { id: 4094, qos: 7, protocol: VlanProtocol::Dot1ad }),
            VfAttr::Rate(VfRate { min: 1, max: u32::MAX - 1 }),
            VfAttr::SpoofCheck(false),
            VfAttr::Trust(true),
            VfAttr::LinkState(VfLinkState::Enable),
        ];
        let info: Vec<u8> = attrs.iter().flat_map(|attr| setting(2, attr)).collect();
        let list = nested(ifla::VFINFO_LIST, &nested(ifla::VF_INFO, &info));
        let found = read(&pf, &[vec![0; LINK_HEADER], list].concat());
        let [vf] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((&vf.link, vf.index), (&pf, 2));
        for attr in attrs {
            assert_eq!(vf.setting(&attr), Some(attr));
        }
    }

    #[test]
    fn what_a_driver_does_not_report_is_left_open() {
        let pf = IfName::new("pf").unwrap();
        let unreported = [3, UNREPORTED].map(u32::to_ne_bytes).concat();
        let mut info = setting(3, &VfAttr::Mac(Mac([0; 6])));
        info.extend(attribute(ifla::VF_SPOOFCHK, &unreported));
        info.extend(attribute(ifla::VF_TRUST, &unreported));
        info.extend(attribute(ifla::VF_VLAN, &[3, 7, 2].map(u32::to_ne_bytes).concat()));
        let list = nested(ifla::VFINFO_LIST, &nested(ifla::VF_INFO, &info));
        let found = read(&pf, &[vec![0; LINK_HEADER], list].concat());
        let vlan = Some(VfVlan { id: 7, qos: 2, protocol: VlanProtocol::Dot1q });
        let expected = VfFact { mac: Some(Mac([0; 6])), vlan, ..VfFact::new(&pf, 3) };
        assert_eq!(found, [expected]);
    }
}
