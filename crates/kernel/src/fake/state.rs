//! What follows from how links are put together: operational states, and what bridges take from their ports.

use polynic_net::{IfName, Mac, OperState};

use super::link::{DEFAULT_MTU, End, FakeLink, Wire};
use super::world::World;

/// Smallest MTU on which IPv6 works (RFC 8200, section 5).
const MIN_IPV6_MTU: u32 = 1280;
/// How many layers of links on links are looked through.
const MAX_LAYERS: u32 = 8;

impl World {
    /// The operational state of a link.
    pub(super) fn oper(&self, space: u32, name: &IfName) -> OperState {
        self.oper_within(&End { space, name: name.clone() }, MAX_LAYERS)
    }

    fn oper_within(&self, end: &End, layers: u32) -> OperState {
        let Ok(link) = self.find(end) else { return OperState::Down };
        if !link.up || layers == 0 {
            return OperState::Down;
        }
        let lower = |works: bool| if works { OperState::Up } else { OperState::LowerLayerDown };
        match &link.wire {
            Wire::Physical => OperState::Up,
            Wire::Loopback
            | Wire::Ifb
            | Wire::Vxlan { .. }
            | Wire::Ipip { .. }
            | Wire::Wireguard
            | Wire::Dummy => OperState::Unknown,
            Wire::Vrf { .. } => OperState::Up,
            Wire::Tap => OperState::Down,
            Wire::Veth { peer } => lower(self.find(peer).is_ok_and(|p| p.up)),
            Wire::Macvlan { parent, .. } | Wire::Ipvlan { parent, .. } | Wire::Vlan { parent, .. } => {
                lower(passes(self.oper_within(parent, layers - 1)))
            }
            Wire::Bridge { .. } if !link.had_ports => OperState::Unknown,
            Wire::Bridge { .. } | Wire::Bond => {
                let any = self.ports(end).any(|port| passes(self.oper_within(&port, layers - 1)));
                if any { OperState::Up } else { OperState::Down }
            }
        }
    }

    pub(super) fn ports<'a>(&'a self, bridge: &'a End) -> impl Iterator<Item = End> + 'a {
        let links = self.space(bridge.space).into_iter().flat_map(|s| &s.links);
        links
            .filter(|(_, l)| l.master.as_ref() == Some(&bridge.name))
            .map(|(name, _)| End { space: bridge.space, name: name.clone() })
    }

    /// The MAC of a link. A bridge for which nobody chose one has the lowest of its ports', and none after the last.
    pub(super) fn mac(&self, end: &End, link: &FakeLink) -> Mac {
        match link.wire {
            Wire::Bridge { .. } if !link.mac_chosen && link.had_ports => {
                self.ports(end).filter_map(|p| Some(self.find(&p).ok()?.mac)).min().unwrap_or(Mac([0; 6]))
            }
            _ => link.mac,
        }
    }

    /// The MTU of a link. A bridge for which nobody chose one has the lowest of its ports' (`br_mtu_auto_adjust`).
    pub(super) fn mtu(&self, end: &End, link: &FakeLink) -> u32 {
        match link.wire {
            Wire::Bridge { .. } if !link.mtu_chosen => {
                self.ports(end).filter_map(|p| Some(self.find(&p).ok()?.mtu)).min().unwrap_or(DEFAULT_MTU)
            }
            _ => link.mtu,
        }
    }

    /// Lets the kernel do what it does by itself: link-local addresses on links that have become operational.
    pub(super) fn settle(&mut self) {
        for end in self.unnumbered() {
            let Ok(link) = self.find(&end) else { continue };
            let mac = self.mac(&end, link);
            let Ok(space) = self.space_mut(end.space) else { continue };
            if let Ok(link) = space.link_mut(&end.name) {
                link.numbered = true;
            }
            space.add_link_local(&end.name, mac);
        }
    }

    fn unnumbered(&self) -> Vec<End> {
        let all = self
            .spaces
            .iter()
            .flat_map(|(space, s)| s.links.iter().map(move |(name, l)| (*space, s, name, l)));
        all.filter(|(_, s, name, l)| {
            !l.numbered && l.wire != Wire::Loopback && l.mtu >= MIN_IPV6_MTU && s.ipv6_enabled(name)
        })
        .filter(|(space, _, name, _)| passes(self.oper(*space, name)))
        .map(|(space, _, name, _)| End { space, name: name.clone() })
        .collect()
    }
}

fn passes(state: OperState) -> bool {
    matches!(state, OperState::Up | OperState::Unknown)
}
