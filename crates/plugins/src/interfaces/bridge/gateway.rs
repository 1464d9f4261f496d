//! The node as the pods' gateway: addresses on the bridge, or on a port of the VLAN.

use std::net::IpAddr;

use polynic_cni::{Error, Ip, Route as ResultRoute, Success};
use polynic_net::{
    Address, Change, Diff, Facts, Family, IfName, IpNet, LinkFact, Needs, Object, Place, Plan, ip_from_u128,
    ip_to_u128,
};

use super::config::Config;
use crate::Call;

/// The link that gets the gateway's addresses.
pub(super) fn link_name(config: &Config) -> Option<IfName> {
    match config.vlan {
        0 => Some(config.bridge.clone()),
        vlan => IfName::new(format!("{}.{vlan}", config.bridge)).ok(),
    }
}

pub(super) fn needs(needs: &mut Needs, config: &Config) {
    if let Some(link) = link_name(config) {
        needs.host.link(&link);
        needs.host.addresses.push(link);
    }
}

/// Of a gateway port that is there, the end that is in the bridge.
pub(super) fn further_needs(needs: &mut Needs, config: &Config, facts: &Facts) {
    let Some(end) = present(config, facts) else { return };
    match peer(facts, end) {
        Some(port) => needs.host.vlans_of_port(&port.name),
        None => needs.host.links_at.extend(end.peer),
    }
}

fn present<'f>(config: &Config, facts: &'f Facts) -> Option<&'f LinkFact> {
    let name = link_name(config).filter(|_| config.vlan != 0)?;
    facts.link(Place::Host, &name).filter(|link| link.kind == "veth" && link.peer_netns.is_none())
}

fn peer<'f>(facts: &'f Facts, end: &LinkFact) -> Option<&'f LinkFact> {
    facts.host.link_by_index(end.peer?)
}

/// The port of the VLAN's gateway that is there, if it is in the bridge or in none: a bridge that was made anew has lost it. One that
/// somebody made of something else is left to him.
pub(super) fn port<'f>(config: &Config, facts: &'f Facts) -> Option<&'f LinkFact> {
    let port = peer(facts, present(config, facts)?)?;
    let bridge = facts.link(Place::Host, &config.bridge).map(|bridge| bridge.index);
    (port.master.is_none() || port.master == bridge).then_some(port)
}

/// Fills in what isGateway and isDefaultGateway imply: gateways, and a default route for each family that has none of its own.
pub(super) fn complete(config: &Config, result: &mut Success) {
    if config.is_gateway {
        for ip in &mut result.ips {
            ip.gateway = ip.gateway.or_else(|| Some(first_of(ip.address)));
        }
    }
    if config.is_default_gateway {
        for family in [Family::V4, Family::V6] {
            add_default(result, family);
        }
    }
}

/// The network's first address.
fn first_of(net: IpNet) -> IpAddr {
    let network = net.network();
    ip_from_u128(Family::of(network), ip_to_u128(network).saturating_add(1))
}

fn add_default(result: &mut Success, family: Family) {
    let mut ips = result.ips.iter().filter(|ip| Family::of(ip.address.addr()) == family);
    let Some(gateway) = ips.find_map(|ip| ip.gateway) else { return };
    let everywhere = IpNet::new_assert(ip_from_u128(family, 0), 0);
    let mut defaults = result.routes.iter_mut().filter(|r| r.dst == everywhere);
    match defaults.next() {
        // One without a next hop would get this gateway anyway; a second one like it could not be installed.
        Some(route) => route.gw = route.gw.or(Some(gateway)),
        None => result.routes.push(ResultRoute::new(everywhere, Some(gateway))),
    }
}

/// Plans the gateway's addresses on `link` (spec/plugins.md 1.1, step 8).
pub(super) fn addresses(
    plan: &mut Plan,
    call: &Call<'_>,
    facts: &Facts,
    (config, link): (&Config, &IfName),
    ips: &[Ip],
) -> Result<(), Error> {
    let present: Vec<IpNet> = facts.host.addresses_of(link).map(|a| a.net).collect();
    let mut planned: Vec<IpNet> = Vec::new();
    for ip in ips {
        let Some(gateway) = ip.gateway else { continue };
        let net = IpNet::new(gateway, ip.address.prefix_len()).unwrap_or(IpNet::from(gateway));
        if planned.contains(&net) {
            continue;
        }
        let is_there = present.contains(&net);
        for other in present.iter().filter(|other| !is_there && conflicts(other, &net)) {
            if !config.force_address {
                let text = format!("{:?} already has an IP address different from {net}", link.as_str());
                return Err(call.error(text));
            }
            let gone = Object::Address(Diff::delete(Address::new(link, *other)));
            plan.ensure(Change { place: Place::Host, object: gone });
        }
        plan.ensure(Change::add_address(Place::Host, Address::new(link, net)));
        planned.push(net);
    }
    Ok(())
}

/// A second IPv4 address is a conflict, a second IPv6 address only in an overlapping network. Link-local ones never are.
fn conflicts(present: &IpNet, wanted: &IpNet) -> bool {
    match (present, wanted) {
        (IpNet::V4(_), IpNet::V4(_)) => true,
        (IpNet::V6(p), IpNet::V6(w)) => {
            !p.addr().is_unicast_link_local() && (p.contains(&w.network()) || w.contains(&p.network()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(s: &str) -> IpNet {
        s.parse().unwrap()
    }

    #[test]
    fn the_gateway_is_the_networks_first_address() {
        assert_eq!(first_of(net("10.1.2.77/24")).to_string(), "10.1.2.1");
        assert_eq!(first_of(net("fd00::77/64")).to_string(), "fd00::1");
    }

    #[test]
    fn a_second_ipv4_address_conflicts_and_a_second_ipv6_network_does_not() {
        assert!(conflicts(&net("10.0.0.1/24"), &net("10.9.0.1/24")));
        assert!(conflicts(&net("fd00::1/64"), &net("fd00::2/48")));
        assert!(!conflicts(&net("fd00::1/64"), &net("fd01::1/64")));
        assert!(!conflicts(&net("fe80::1/64"), &net("fe80::2/64")));
        assert!(!conflicts(&net("10.0.0.1/24"), &net("fd00::1/64")));
    }

    #[test]
    fn a_default_route_without_next_hop_is_the_gateways() {
        let gateway = Some("10.0.0.1".parse().unwrap());
        let ip = Ip { interface: None, address: net("10.0.0.5/24"), gateway };
        let routes = vec![ResultRoute::new(net("0.0.0.0/0"), None)];
        let mut result = Success { ips: vec![ip], routes, ..Success::default() };
        add_default(&mut result, Family::V4);
        assert_eq!(result.routes, [ResultRoute::new(net("0.0.0.0/0"), gateway)]);
    }

    #[test]
    fn a_default_route_is_added_only_where_there_is_none() {
        let ip =
            Ip { interface: None, address: net("10.0.0.5/24"), gateway: Some("10.0.0.1".parse().unwrap()) };
        let mut result = Success { ips: vec![ip], ..Success::default() };
        add_default(&mut result, Family::V4);
        add_default(&mut result, Family::V4);
        add_default(&mut result, Family::V6);
        assert_eq!(result.routes, [ResultRoute::new(net("0.0.0.0/0"), Some("10.0.0.1".parse().unwrap()))]);
    }
}
