//! What the fake kernel shows of itself.

use std::collections::BTreeMap;

use polynic_net::{
    AddressFact, Destination, Family, FwObject, FwRule, IfName, IpNet, IpipFact, LinkFact, LinkNeed,
    Neighbour, NsFacts, NsNeeds, PortVlan, Route, RpFilterNeed, Rule, SysctlKey, VxlanFact, is_global, scope,
};

use super::address::FakeAddress;
use super::link::{End, FakeLink, Wire};
use super::space::Space;
use super::world::World;

impl World {
    /// What there is of `needs` in a namespace; none if the namespace is gone.
    pub(super) fn observe(&self, number: u32, needs: &NsNeeds) -> Option<NsFacts> {
        let space = self.space(number)?;
        let asked = |a: &&FakeAddress| {
            let (net, family) = (a.net.addr(), Family::of(a.net.addr()));
            needs.all_addresses
                || needs.addresses.contains(&a.link)
                || needs.global_addresses.contains(&family) && is_global(net)
        };
        let mut addresses: Vec<&FakeAddress> = space.addresses.iter().filter(asked).collect();
        addresses.sort_by_key(|a| space.links.get(&a.link).map(|l| l.index));
        let source = |to: &std::net::IpAddr| Some((*to, space.source_towards(*to)?));
        Some(NsFacts {
            links: self.observe_links(number, space, needs),
            addresses: addresses.into_iter().map(|a| self.address_fact(a)).collect(),
            vfs: needs
                .vfs
                .iter()
                .filter_map(|link| space.links.get(link))
                .flat_map(|l| l.vfs.clone())
                .collect(),
            port_vlans: needs.port_vlans.iter().map(|port| (port.clone(), space.vlans_of(port))).collect(),
            sources: needs.sources.iter().filter_map(source).collect(),
            routes: space.routes.iter().filter(|r| space.route_asked(needs, r)).cloned().collect(),
            rules: space.rules.iter().filter(|r| rule_asked(needs, r)).cloned().collect(),
            neighbours: space
                .neighbours
                .iter()
                .filter(|n| space.neighbour_asked(needs, n))
                .cloned()
                .collect(),
            forwarding: space
                .forwarding
                .iter()
                .filter(|e| needs.forwarding.contains(&e.link))
                .cloned()
                .collect(),
            wireguard: space.wireguard_of(&needs.wireguard),
            ways: needs.ways.iter().filter_map(|to| Some((*to, space.way_to(*to)?))).collect(),
            sysctls: space.sysctls_asked(needs),
            traffic: space.traffic_of(&needs.traffic),
            firewall: needs.firewall.iter().flat_map(|t| space.firewall.objects(t)).map(shown).collect(),
            legacy_forward_drops: Vec::new(),
            zone_sources: space.zone_sources_of(needs.zone_sources.as_deref()),
        })
    }

    fn observe_links(&self, number: u32, space: &Space, needs: &NsNeeds) -> Vec<LinkFact> {
        let wanted = |name: &IfName, link: &FakeLink| match &needs.links {
            LinkNeed::All => true,
            LinkNeed::Named(names) => {
                let is_it = |asked: &str| link.is_called(name, asked);
                names.iter().any(|asked| is_it(asked.as_str()))
                    || needs.links_called.iter().any(|asked| is_it(asked.as_str()))
                    || needs.links_at.contains(&link.index)
            }
        };
        let links = space.links.iter().filter(|(name, link)| wanted(name, link));
        let mut facts: Vec<LinkFact> = links
            .map(|(name, link)| self.link_fact(&End { space: number, name: name.clone() }, link))
            .collect();
        // The kernel dumps links by index.
        facts.sort_by_key(|l| l.index);
        facts
    }

    fn link_fact(&self, end: &End, link: &FakeLink) -> LinkFact {
        let other = match &link.wire {
            Wire::Veth { peer } => Some(peer),
            wire => wire.parent(),
        };
        let port = link.master.is_some();
        let master = link.master.clone().map(|name| End { name, ..end.clone() });
        LinkFact {
            mac: Some(self.mac(end, link)),
            mtu: self.mtu(end, link),
            up: link.up,
            oper: self.oper(end.space, &end.name),
            promisc: link.promisc,
            all_multicast: link.all_multi,
            loopback: link.wire == Wire::Loopback,
            broadcast: link.wire != Wire::Loopback,
            multicast: link.wire != Wire::Loopback,
            tx_queue_len: link.tx_queue_len,
            alias: Some(link.alias.clone()).filter(|a| !a.is_empty()),
            master: master.and_then(|m| self.index(&m)),
            peer: other.and_then(|o| self.index(o)),
            // Namespaces' ids in each other are their numbers here.
            peer_netns: other.filter(|o| o.space != end.space).and_then(|o| i32::try_from(o.space).ok()),
            macvlan_mode: match link.wire {
                Wire::Macvlan { mode, .. } => Some(mode),
                _ => None,
            },
            ipvlan_mode: match link.wire {
                Wire::Ipvlan { mode, .. } => Some(mode),
                _ => None,
            },
            vlan_id: match link.wire {
                Wire::Vlan { id, .. } => Some(id),
                _ => None,
            },
            vrf_table: match link.wire {
                Wire::Vrf { table } => Some(table),
                _ => None,
            },
            vxlan: match &link.wire {
                Wire::Vxlan { parent, options } => {
                    Some(VxlanFact { parent: parent.as_ref().and_then(|p| self.index(p)), ..options.clone() })
                }
                _ => None,
            },
            ipip: match link.wire {
                Wire::Ipip { local } => Some(IpipFact { local, remote: None }),
                _ => None,
            },
            other_names: link.other_names.clone(),
            vlan_default: matches!(link.wire, Wire::Bridge { .. }).then_some(link.vlan_default),
            vlan_filtering: match link.wire {
                Wire::Bridge { vlan_filtering } => Some(vlan_filtering),
                _ => None,
            },
            hairpin: port.then_some(link.hairpin),
            isolated: port.then_some(link.isolated),
            ..LinkFact::new(link.index, end.name.clone(), link.wire.kind())
        }
    }

    fn index(&self, end: &End) -> Option<u32> {
        self.find(end).ok().map(|l| l.index)
    }

    fn address_fact(&self, address: &FakeAddress) -> AddressFact {
        let ip = address.net.addr();
        let link_local = matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        let scope = match ip {
            ip if ip.is_loopback() => scope::HOST,
            _ if link_local => scope::LINK,
            _ => scope::UNIVERSE,
        };
        let dad_failed = self.dad_failed(address);
        AddressFact {
            link: address.link.clone(),
            net: address.net,
            scope,
            tentative: dad_failed,
            dad_failed,
            permanent: true,
            deprecated: false,
            temporary: false,
        }
    }
}

impl Space {
    fn vlans_of(&self, port: &IfName) -> Vec<PortVlan> {
        self.links.get(port).map(|link| link.vlans.values().cloned().collect()).unwrap_or_default()
    }

    fn sysctls_asked(&self, needs: &NsNeeds) -> BTreeMap<SysctlKey, Option<String>> {
        let named = needs.sysctls.iter().map(|key| (key.clone(), self.sysctls.get(key).cloned()));
        let Some(need) = needs.rp_filter else { return named.collect() };
        let general = ["all", "default"].into_iter().filter_map(|name| IfName::new(name).ok());
        let general: Vec<SysctlKey> = general.map(|name| SysctlKey::rp_filter(&name)).collect();
        let differs = |key: &SysctlKey| match need {
            RpFilterNeed::General => false,
            RpFilterNeed::Unlike(value) => self.sysctls.get(key) != Some(&value.to_string()),
        };
        let links = self.links.keys().map(SysctlKey::rp_filter).filter(differs);
        let filters = general.into_iter().chain(links);
        named.chain(filters.map(|key| (key.clone(), self.sysctls.get(&key).cloned()))).collect()
    }

    fn route_asked(&self, needs: &NsNeeds, route: &Route) -> bool {
        let through = needs.routes_on.iter().any(|link| route.uses(link));
        needs.routes || through || needs.destinations.iter().any(|to| leads(route, to))
    }

    fn neighbour_asked(&self, needs: &NsNeeds, neighbour: &Neighbour) -> bool {
        let named = |(link, ip): &(IfName, std::net::IpAddr)| (link, ip) == (&neighbour.link, &neighbour.ip);
        let met = |to: &Destination| to.ip == neighbour.ip && self.is_met(to, &neighbour.link);
        needs.neighbours || needs.neighbours_of.iter().any(named) || needs.destinations.iter().any(met)
    }

    /// Whether packets to an address can come to a link.
    fn is_met(&self, to: &Destination, link: &IfName) -> bool {
        let index = self.links.get(link).map(|l| l.index);
        index.is_some_and(|index| to.links.contains(&index))
            || self.routes.iter().any(|r| leads(r, to) && r.link.as_ref() == Some(link))
            || self.way_to(to.ip).is_some_and(|way| way.link == *link)
    }
}

fn rule_asked(needs: &NsNeeds, rule: &Rule) -> bool {
    needs.rules || needs.rules_of.contains(&rule.family)
}

fn leads(route: &Route, to: &Destination) -> bool {
    route.table == to.table && route.dst == IpNet::from(to.ip)
}

/// A firewall object as it is read back: rules without their expressions.
fn shown(object: FwObject) -> FwObject {
    match object {
        FwObject::Rule(rule) => FwObject::Rule(FwRule { exprs: Vec::new(), ..rule }),
        other => other,
    }
}
