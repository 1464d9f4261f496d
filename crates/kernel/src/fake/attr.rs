//! Attributes of links and VLANs of bridge ports.

use std::collections::BTreeMap;

use polynic_net::{Attr, AttrChange, IfName, MacvlanMode, PortVlan, TABLE_MAIN, VfAttr};

use super::link::{End, FakeLink, Wire, check_mac, check_mtu};
use super::space::Space;
use super::world::{Refusal, World};
use crate::Errno;

/// `ELOOP`, for a bridge in a bridge.
const ELOOP: Errno = Errno(40);
/// `EADDRINUSE`, for a station with the MAC of another.
const EADDRINUSE: Errno = Errno(98);

impl World {
    /// Sets an attribute that has the value `before`.
    pub(super) fn set_attr(&mut self, space: u32, change: &AttrChange) -> Result<(), Refusal> {
        let end = End { space, name: change.link.clone() };
        // Asked for as the real door asks for it: whether it is up already is not looked at.
        if change.after == Attr::Up(true) {
            return self.bring_up(&end);
        }
        let present = self.attr(&end, &change.after)?;
        if present != change.before && !change.unsteady {
            return Err(Refusal::Stale(format!("{present:?}")));
        }
        match &change.after {
            Attr::Up(_) => self.take_down(&end),
            Attr::Master(master) => self.enslave(&end, master.as_ref()),
            Attr::Mtu(mtu) => self.set_mtu(&end, *mtu),
            Attr::Mac(mac) => {
                check_mac(Some(*mac))?;
                let link = self.find_mut(&end)?;
                (link.mac, link.mac_chosen) = (*mac, true);
                Ok(())
            }
            simple => set_simple(self.find_mut(&end)?, simple),
        }
    }

    pub(super) fn find_mut(&mut self, end: &End) -> Result<&mut FakeLink, Refusal> {
        self.space_mut(end.space)?.link_mut(&end.name)
    }

    /// The present value of the attribute that `like` is about.
    fn attr(&self, end: &End, like: &Attr) -> Result<Attr, Refusal> {
        let link = self.find(end)?;
        Ok(match like {
            Attr::Up(_) => Attr::Up(link.up),
            Attr::Mtu(_) => Attr::Mtu(self.mtu(end, link)),
            Attr::Mac(_) => Attr::Mac(self.mac(end, link)),
            Attr::Master(_) => Attr::Master(link.master.clone()),
            Attr::Promisc(_) => Attr::Promisc(link.promisc),
            Attr::AllMulti(_) => Attr::AllMulti(link.all_multi),
            Attr::TxQueueLen(_) => Attr::TxQueueLen(link.tx_queue_len),
            Attr::Hairpin(_) => Attr::Hairpin(link.hairpin),
            Attr::Isolated(_) => Attr::Isolated(link.isolated),
            Attr::Alias(_) => Attr::Alias(link.alias.clone()),
            Attr::Vf { index, attr } => {
                let vf = link.vfs.iter().find(|vf| vf.index == *index).ok_or(Errno::EINVAL)?;
                Attr::Vf { index: *index, attr: vf.setting(attr).unwrap_or_else(|| attr.clone()) }
            }
        })
    }

    /// Stations follow their parent down, not up (`macvlan_device_event`, `vlan_device_event`, `ipvlan_adjust_mtu`).
    fn set_mtu(&mut self, end: &End, mtu: u32) -> Result<(), Refusal> {
        check_mtu(mtu, self.max_mtu(&self.find(end)?.wire))?;
        let link = self.find_mut(end)?;
        (link.mtu, link.mtu_chosen) = (mtu, true);
        for child in self.children(end) {
            let child = self.find_mut(&child)?;
            if !matches!(child.wire, Wire::Vxlan { .. }) {
                child.mtu = child.mtu.min(mtu);
            }
        }
        Ok(())
    }

    fn bring_up(&mut self, end: &End) -> Result<(), Refusal> {
        if self.find(end)?.up {
            return Ok(());
        }
        self.check_station(end)?;
        self.find_mut(end)?.up = true;
        self.space_mut(end.space)?.came_up(&end.name);
        Ok(())
    }

    /// Two stations on one parent that are up cannot share a MAC (`macvlan_open`, `macvlan_addr_busy`).
    fn check_station(&self, end: &End) -> Result<(), Refusal> {
        let link = self.find(end)?;
        let Wire::Macvlan { parent, mode, .. } = &link.wire else { return Ok(()) };
        // The one station of a passthru parent has the parent's address (`macvlan_open` skips the test for it).
        if *mode == MacvlanMode::Passthru {
            return Ok(());
        }
        let taken = |other: &End| self.find(other).is_ok_and(|l| l.up && l.mac == link.mac);
        let busy = self.find(parent)?.mac == link.mac
            || self.children(parent).iter().any(|other| other != end && taken(other));
        if busy { Err(EADDRINUSE.into()) } else { Ok(()) }
    }

    fn take_down(&mut self, end: &End) -> Result<(), Refusal> {
        let link = self.find_mut(end)?;
        if link.up {
            link.up = false;
            link.numbered = false;
            self.space_mut(end.space)?.went_down(&end.name);
        }
        Ok(())
    }

    /// Makes a link a port of a bridge, with the VLAN that every new port starts in (`nbp_vlan_init`), or frees it.
    fn enslave(&mut self, end: &End, master: Option<&IfName>) -> Result<(), Refusal> {
        let link = self.find(end)?;
        if link.master.as_ref() == master {
            return Ok(());
        }
        if let Some(master) = master {
            self.check_port(end, master)?;
        }
        let domain =
            |world: &Self, name: &IfName| match world.find(&End { name: name.clone(), ..end.clone() }) {
                Ok(FakeLink { wire: Wire::Vrf { table }, .. }) => Some(*table),
                _ => None,
            };
        let old = self.find(end)?.master.clone().and_then(|name| domain(self, &name));
        let new = master.and_then(|name| domain(self, name));
        if old.is_some() || new.is_some() {
            let space = self.space_mut(end.space)?;
            space.change_domain(&end.name, new.unwrap_or(TABLE_MAIN));
            let link = self.find_mut(end)?;
            link.leave_master();
            link.master = master.cloned();
            return Ok(());
        }
        let of_bond = |name: &IfName| {
            let master = End { name: name.clone(), ..end.clone() };
            self.find(&master).is_ok_and(|master| master.wire == Wire::Bond)
        };
        let (joins, leaves) =
            (master.is_some_and(of_bond), self.find(end)?.master.as_ref().is_some_and(of_bond));
        if joins || leaves {
            return self.bond(end, master);
        }
        let link = self.find_mut(end)?;
        link.leave_master();
        if let Some(master) = master {
            link.master = Some(master.clone());
            let bridge = self.space_mut(end.space)?.link_mut(master)?;
            bridge.had_ports = true;
            let vid = bridge.vlan_default;
            let first = PortVlan { link: end.name.clone(), vid, pvid: true, untagged: true };
            if vid != 0 {
                self.find_mut(end)?.vlans = BTreeMap::from([(vid, first)]);
            }
        }
        Ok(())
    }

    /// A port of a bond is set up when it joins, and closed when it leaves (`bond_enslave`, `__bond_release_one`). The first one
    /// gives the bond its address.
    pub(super) fn bond(&mut self, end: &End, master: Option<&IfName>) -> Result<(), Refusal> {
        if self.find(end)?.master.is_some() {
            self.find_mut(end)?.leave_master();
            self.take_down(end)?;
        }
        let Some(master) = master else { return Ok(()) };
        let mac = self.find(end)?.mac;
        let bond = self.find_mut(&End { name: master.clone(), ..end.clone() })?;
        if !bond.had_ports {
            (bond.mac, bond.had_ports) = (mac, true);
        }
        self.find_mut(end)?.master = Some(master.clone());
        self.bring_up(end)
    }

    fn check_port(&self, end: &End, master: &IfName) -> Result<(), Refusal> {
        let bridge = self.find(&End { space: end.space, name: master.clone() })?;
        match bridge.wire {
            Wire::Vrf { .. } => return Ok(()),
            Wire::Bridge { .. } => {}
            // `bond_enslave`: what is up cannot join.
            Wire::Bond if self.find(end)?.up => {
                return Err(Refusal::because(Errno::EPERM, "Device can not be enslaved while up"));
            }
            Wire::Bond => {}
            _ => return Err(Errno::EOPNOTSUPP.into()),
        }
        match self.find(end)?.wire {
            Wire::Loopback => Err(Errno::EINVAL.into()),
            Wire::Bridge { .. } => Err(Refusal::because(ELOOP, "Can not enslave a bridge to a bridge")),
            // The parent of a macvlan has a receive handler already.
            _ if !self.children(end).is_empty() => Err(Errno::EBUSY.into()),
            _ => Ok(()),
        }
    }
}

fn set_simple(link: &mut FakeLink, attr: &Attr) -> Result<(), Refusal> {
    match attr {
        Attr::Promisc(on) => link.promisc = *on,
        Attr::AllMulti(on) => link.all_multi = *on,
        Attr::TxQueueLen(len) => link.tx_queue_len = *len,
        Attr::Alias(alias) => link.alias.clone_from(alias),
        Attr::Vf { index, attr } => return set_vf(link, *index, attr),
        Attr::Hairpin(_) | Attr::Isolated(_) if link.master.is_none() => return Err(Errno::EOPNOTSUPP.into()),
        Attr::Hairpin(on) => link.hairpin = *on,
        Attr::Isolated(on) => link.isolated = *on,
        Attr::Up(_) | Attr::Mtu(_) | Attr::Mac(_) | Attr::Master(_) => {}
    }
    Ok(())
}

/// As drivers judge: a multicast address, a VLAN or a priority that is none, a least rate above the greatest.
fn set_vf(link: &mut FakeLink, index: u32, attr: &VfAttr) -> Result<(), Refusal> {
    let vf = link.vfs.iter_mut().find(|vf| vf.index == index).ok_or(Errno::EINVAL)?;
    let bad = match attr {
        VfAttr::Mac(mac) => mac.0[0] & 1 == 1,
        VfAttr::Vlan(vlan) => vlan.id > 4094 || vlan.qos > 7,
        VfAttr::Rate(rate) => rate.max != 0 && rate.min > rate.max,
        VfAttr::SpoofCheck(_) | VfAttr::Trust(_) | VfAttr::LinkState(_) => false,
    };
    if bad {
        return Err(Errno::EINVAL.into());
    }
    match attr {
        VfAttr::Vlan(vlan) => vf.vlan = Some(*vlan),
        VfAttr::Mac(mac) => vf.mac = Some(*mac),
        VfAttr::Rate(rate) => vf.rate = Some(*rate),
        VfAttr::SpoofCheck(on) => vf.spoof_check = Some(*on),
        VfAttr::Trust(on) => vf.trust = Some(*on),
        VfAttr::LinkState(state) => vf.link_state = Some(*state),
    }
    Ok(())
}

impl Space {
    /// Adds a VLAN to a port, or changes its flags (`nbp_vlan_add`). A port has one VLAN for untagged packets: a new one takes that from the old.
    pub(super) fn add_vlan(&mut self, vlan: &PortVlan) -> Result<(), Refusal> {
        let port = self.port(&vlan.link)?;
        if !(1..4095).contains(&vlan.vid) {
            return Err(Errno::EINVAL.into());
        }
        if vlan.pvid {
            port.vlans.values_mut().for_each(|v| v.pvid = false);
        }
        port.vlans.insert(vlan.vid, vlan.clone());
        Ok(())
    }

    pub(super) fn delete_vlan(&mut self, vlan: &PortVlan) -> Result<(), Refusal> {
        let gone = self.port(&vlan.link)?.vlans.remove(&vlan.vid);
        gone.map(drop).ok_or_else(|| Errno::ENOENT.into())
    }

    fn port(&mut self, name: &IfName) -> Result<&mut FakeLink, Refusal> {
        let link = self.link_mut(name)?;
        if link.master.is_none() { Err(Errno::EOPNOTSUPP.into()) } else { Ok(link) }
    }
}
