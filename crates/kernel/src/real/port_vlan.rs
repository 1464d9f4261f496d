//! VLANs of bridge ports.

use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polynic_net::{Diff, PortVlan};

use super::space::Space;
use super::{Wanted, wanted};
use crate::netlink::Fault;

impl Space {
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
