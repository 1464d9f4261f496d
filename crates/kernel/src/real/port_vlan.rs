//! VLANs of bridge ports.

use std::collections::BTreeMap;

use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polynic_net::{Diff, IfName, PortVlan};

use super::space::Space;
use super::{Wanted, wanted};
use crate::Errno;
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};

/// Fixed part of a link message (`struct ifinfomsg`).
const LINK_HEADER: usize = 16;
/// Attribute numbers of include/uapi/linux/if_link.h and if_bridge.h.
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

impl Space {
    /// The VLANs of these ports. The kernel has them in its list of all ports only, where neighbouring VLANs with the same flags are one range.
    pub(super) fn port_vlans(&mut self, ports: &[IfName]) -> Result<BTreeMap<IfName, Vec<PortVlan>>, Fault> {
        let mut found: BTreeMap<IfName, Vec<PortVlan>> =
            ports.iter().map(|port| (port.clone(), Vec::new())).collect();
        let mut indexes = BTreeMap::new();
        for port in ports {
            match self.link(port) {
                Err(fault) if fault.is(Errno::ENODEV) => {}
                link => drop(indexes.insert(link?.index, port.clone())),
            }
        }
        if indexes.is_empty() {
            return Ok(found);
        }
        let mut request = LinkMessage::default();
        request.header.interface_family = AddressFamily::Bridge;
        request.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed])];
        let listed = self.route.dump(RouteNetlinkMessage::GetLink(request), |payload| {
            let port = indexes.get(&attrs::u32(payload.get(4..)?)?)?;
            Some((port, memberships(payload, port)))
        })?;
        for (port, vlans) in listed {
            found.entry(port.clone()).or_default().extend(vlans);
        }
        Ok(found)
    }

    /// Adds or removes a membership. The kernel does not tell a new membership from one that is there already: the flags
    /// of the change hold afterwards either way.
    pub(super) fn change_port_vlan(&mut self, diff: &Diff<PortVlan>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(vlan)) => self.set_port_vlan(vlan),
            Some(Wanted::Delete(vlan)) => self.delete_port_vlan(vlan),
            Some(Wanted::Replace(before, after)) => {
                if (&before.link, before.vid) != (&after.link, after.vid) {
                    self.delete_port_vlan(before)?;
                }
                self.set_port_vlan(after)
            }
            None => Ok(()),
        }
    }

    fn set_port_vlan(&mut self, vlan: &PortVlan) -> Result<(), Fault> {
        self.on_link(&vlan.link, |socket, index| {
            socket.change(RouteNetlinkMessage::SetLink(message(vlan, index)), 0)
        })
    }

    fn delete_port_vlan(&mut self, vlan: &PortVlan) -> Result<(), Fault> {
        self.on_link(&vlan.link, |socket, index| {
            socket.change(RouteNetlinkMessage::DelLink(message(vlan, index)), 0)
        })
    }
}

/// The memberships that one message tells of a port.
fn memberships(payload: &[u8], port: &IfName) -> Vec<PortVlan> {
    let mut vlans = Vec::new();
    let mut first = None;
    for (kind, value) in Attrs::after(payload, LINK_HEADER).nested(IFLA_AF_SPEC) {
        let Some((flags, vid)) = attrs::u16(value).zip(value.get(2..).and_then(attrs::u16)) else { continue };
        let flags = BridgeVlanInfoFlags::from_bits_retain(flags);
        if kind != IFLA_BRIDGE_VLAN_INFO || vid > 4095 {
            continue;
        }
        if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            first = Some(vid);
            continue;
        }
        let (pvid, untagged) =
            (flags.contains(BridgeVlanInfoFlags::Pvid), flags.contains(BridgeVlanInfoFlags::Untagged));
        let range = first.take().unwrap_or(vid)..=vid;
        vlans.extend(range.map(|vid| PortVlan { link: port.clone(), vid, pvid, untagged }));
    }
    vlans
}

fn message(vlan: &PortVlan, index: u32) -> LinkMessage {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    let info = BridgeVlanInfo { flags, vid: vlan.vid };
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message.attributes = vec![LinkAttribute::AfSpecBridge(vec![AfSpecBridge::VlanInfo(info)])];
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::encode;

    #[test]
    fn ranges_are_read_one_by_one() {
        let mut bytes = vec![0; 16];
        bytes.extend([28, 0, 26, 0]); // IFLA_AF_SPEC
        bytes.extend([8, 0, 2, 0, 6, 0, 5, 0]); // VLAN 5, native
        bytes.extend([8, 0, 2, 0, 8, 0, 44, 1]); // a range from 300
        bytes.extend([8, 0, 2, 0, 16, 0, 46, 1]); // to 302
        let port = IfName::loopback();
        let vlan = |vid, native| PortVlan { link: port.clone(), vid, pvid: native, untagged: native };
        let all = [vlan(5, true), vlan(300, false), vlan(301, false), vlan(302, false)];
        assert_eq!(memberships(&bytes, &port), all);
        for cut in 0..bytes.len() {
            let _ = memberships(&bytes[..cut], &port);
        }
    }

    /// Golden bytes: few kernels that run tests have bridges that filter VLANs.
    #[test]
    fn a_native_vlan_is_asked_for_in_these_bytes() {
        let vlan = PortVlan { link: polynic_net::IfName::loopback(), vid: 100, pvid: true, untagged: true };
        let bytes = encode(RouteNetlinkMessage::SetLink(message(&vlan, 9)), 0, 1);
        let expected: [&[u8]; 4] = [
            &[44, 0, 0, 0, 19, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], // header: RTM_SETLINK
            &[7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],   // ifinfomsg: AF_BRIDGE, index
            &[12, 0, 26, 0],                                     // IFLA_AF_SPEC
            &[8, 0, 2, 0, 6, 0, 100, 0],                         // IFLA_BRIDGE_VLAN_INFO: flags, VLAN
        ];
        assert_eq!(bytes, expected.concat());
    }
}
