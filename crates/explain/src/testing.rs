//! Small scenes for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::stack::{
    AddressState, Conf, FibKind, FibRoute, Hop, LinkState, PolicyRule, RuleAction, Stack,
};
use polynic_net::{AddressFact, Family, IfName, IpNet, LinkFact, MacvlanMode, TABLE_MAIN, scope};

use crate::{Scene, Site, Spot};

/// A site whose links lead to others of the same number.
pub(crate) fn site(name: &str, stack: Stack) -> Site {
    Site {
        name: name.to_owned(),
        stack,
        numbers: (0..4).map(|n| (n, n as usize)).collect::<BTreeMap<i32, usize>>(),
    }
}

/// A link that is up.
pub(crate) fn link(index: u32, name: &str, kind: &str) -> LinkState {
    let mut fact = LinkFact::new(index, IfName::new(name).unwrap(), kind);
    fact.up = true;
    fact.oper = polynic_net::OperState::Up;
    LinkState { fact, conf: Conf::default(), no_arp: false, carrier: true, group: 0 }
}

/// A link that belongs to one of another site.
pub(crate) fn of_peer(mut link: LinkState, peer: Spot) -> LinkState {
    link.fact.peer = Some(peer.link);
    link.fact.peer_netns = Some(peer.site as i32);
    if link.fact.kind == "macvlan" {
        link.fact.macvlan_mode = Some(MacvlanMode::Bridge);
    }
    link
}

/// A port of a bridge of the same site.
pub(crate) fn port(mut link: LinkState, bridge: u32) -> LinkState {
    link.fact.master = Some(bridge);
    link
}

/// A stack with links, each with at most one address and the routes that come with it, and the kernel's own rules.
pub(crate) fn stack(links: Vec<(LinkState, &str)>) -> Stack {
    let mut stack = Stack::default();
    for family in [Family::V4, Family::V6] {
        for (priority, table) in [(0, 255), (32766, TABLE_MAIN)] {
            stack.rules.push(PolicyRule::new(family, priority, RuleAction::Table(table)));
        }
    }
    for (link, net) in links {
        if let Ok(net) = net.parse::<IpNet>() {
            address(&mut stack, &link, net);
        }
        stack.links.push(link);
    }
    stack
}

fn address(stack: &mut Stack, link: &LinkState, net: IpNet) {
    let fact = AddressFact {
        link: link.fact.name.clone(),
        net,
        scope: scope::UNIVERSE,
        tentative: false,
        dad_failed: false,
        permanent: true,
        deprecated: false,
        temporary: false,
    };
    stack.addresses.push(AddressState { link: link.fact.index, fact, secondary: false, deprecated: false });
    stack.routes.push(FibRoute { scope: scope::LINK, ..route(net.trunc(), TABLE_MAIN, link.fact.index) });
    let own = route(net.addr().into(), 255, link.fact.index);
    stack.routes.push(FibRoute { kind: FibKind::Local, protocol: 2, ..own });
}

/// A route on a link.
pub(crate) fn route(dst: IpNet, table: u32, link: u32) -> FibRoute {
    FibRoute {
        family: Family::of(dst.addr()),
        table,
        dst,
        from: None,
        tos: 0,
        metric: 0,
        kind: FibKind::Unicast,
        scope: scope::UNIVERSE,
        protocol: 3,
        source: None,
        hops: vec![Hop { link: Some(link), ..Hop::default() }],
        preference: 0,
    }
}

/// A scene of these sites.
pub(crate) fn scene(sites: Vec<Site>) -> Scene {
    Scene { sites }
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
