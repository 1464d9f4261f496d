//! What the kernel should look like: devices, the way to each peer, rules. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use polynic_net::{
    Family, Forwarding, FwObject, IfName, IpNet, Link, LinkKind, LinkRef, Mac, Neighbour, NsFacts, Place,
    Route, RouteKind, Vxlan,
};

use crate::iptables::{self, InForward};
use crate::rules::{self, RuleOptions};
use crate::wireguard::{self, KeyPair, Told, WireguardTunnel};
use crate::{Backend, Endpoint, External, Keys, Lease, NetConf, Own, PerFamily, VxlanConf};

/// Everything that follows from configuration, leases and the external interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The tunnels, one per family that has one.
    pub devices: Vec<Device>,
    /// The tunnels of the backend wireguard, which have their peers in them; absent with any other backend.
    pub wireguard: Option<Vec<WireguardTunnel>>,
    /// The way to each peer's subnet.
    pub peers: Vec<Peer>,
    /// Routes that are no peer's: `--ip-blackhole-route`.
    pub routes: Vec<Route>,
    /// Objects of the firewall, in order.
    pub firewall: Vec<FwObject>,
    /// Rules in iptables' own chain.
    pub in_forward: InForward,
    /// What pods' interfaces can carry, in bytes.
    pub mtu: u32,
    /// What is wrong with single peers.
    pub problems: Vec<String>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its family.
    pub family: Family,
    /// What it is made of; its MAC is the one to use if it has to be made.
    pub link: Link,
    /// Index of the link that carries it.
    pub parent: u32,
    /// Its address: the subnet's base, for this host alone.
    pub address: IpNet,
    /// The network that the instance owns on it.
    pub network: IpNet,
}

/// The way to one subnet of one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// The node.
    pub node: String,
    /// The tunnel's entries; none for a direct way, and for a tunnel that needs none.
    pub tunnel: Option<(Neighbour, Forwarding)>,
    /// The route, which comes last and goes first.
    pub route: Route,
}

/// One family of a lease that can be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted<'a> {
    pub(crate) node: &'a str,
    pub(crate) family: Family,
    pub(crate) endpoint: &'a Endpoint,
}

/// What [`Desired`] follows from.
pub struct Wish<'a> {
    /// The network configuration.
    pub conf: &'a NetConf,
    /// Names of this instance.
    pub keys: &'a Keys,
    /// This node's part.
    pub own: &'a Own,
    /// The peers.
    pub leases: &'a [Lease],
    /// The external interface.
    pub external: &'a External,
    /// The tunnels' hardware addresses.
    pub vteps: &'a PerFamily<Mac>,
    /// The key pair, if the backend has one.
    pub wireguard: Option<KeyPair>,
    /// The endpoints of WireGuard's peers that were set before.
    pub told: &'a Told,
    /// Which rules.
    pub rules: RuleOptions,
    /// `--ip-blackhole-route`
    pub blackhole: bool,
}

/// Bytes that a tunnel needs for itself: outer Ethernet, IP, UDP, VXLAN.
fn overhead(family: Family) -> u32 {
    match family {
        Family::V4 => 50,
        Family::V6 => 70,
    }
}

/// The name of the tunnel of the backend ipip: one node has one.
pub const IPIP: &str = "flannel.ipip";
/// Bytes of the outer header.
const IPIP_OVERHEAD: u32 = 20;

/// The name of an instance's VXLAN.
pub fn device_name(vni: u32, family: Family) -> String {
    match family {
        Family::V4 => format!("flannel.{vni}"),
        Family::V6 => format!("flannel-v6.{vni}"),
    }
}

impl Wish<'_> {
    /// Works it out. `facts` answer whether peers are neighbours, where that matters.
    pub fn desired(&self, facts: &NsFacts) -> Desired {
        let mut desired = Desired {
            firewall: rules::wanted(self.keys, self.conf, &self.own.subnets, self.rules),
            in_forward: iptables::wanted(self.keys, self.conf, self.rules),
            mtu: self.external.mtu,
            ..Desired::default()
        };
        desired.devices = match &self.conf.backend {
            Backend::Vxlan(conf) => {
                self.conf.networks.families().filter_map(|family| self.vxlan(conf, family)).collect()
            }
            Backend::Ipip { .. } => self.ipip().into_iter().collect(),
            Backend::HostGw | Backend::Wireguard(_) => Vec::new(),
        };
        desired.mtu = desired.devices.iter().filter_map(|d| d.link.mtu).min().unwrap_or(desired.mtu);
        let accepted = self.accepted(&mut desired.problems);
        if let Backend::Wireguard(conf) = &self.conf.backend {
            let (tunnels, problems) = wireguard::tunnels(self, conf, &accepted);
            desired.mtu = tunnels.iter().filter_map(|t| t.link.mtu).min().unwrap_or(desired.mtu);
            desired.problems.extend(problems);
            desired.wireguard = Some(tunnels);
        } else {
            let peers = accepted.iter().filter_map(|one| self.peer(one, facts, &desired.devices));
            desired.peers = peers.collect();
        }
        if self.blackhole {
            desired.routes = self.own.subnets.iter().map(|(_, subnet)| blackhole(*subnet)).collect();
        }
        desired
    }

    /// The peers that [`Wish::desired`] wants to know the way to.
    pub fn destinations(&self) -> Vec<IpAddr> {
        let asks = self.conf.backend.direct_routing();
        let all = self.leases.iter().filter(|_| asks).flat_map(|lease| lease.endpoints.iter());
        all.map(|(_, endpoint)| endpoint.public).collect()
    }

    fn ipip(&self) -> Option<Device> {
        let local = self.external.addresses.get(Family::V4).copied();
        let local = local.and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
        Some(Device {
            family: Family::V4,
            link: Link {
                name: IfName::new(IPIP).ok()?,
                kind: LinkKind::Ipip { local },
                mac: None,
                mtu: Some(self.external.mtu.saturating_sub(IPIP_OVERHEAD)),
            },
            parent: self.external.index,
            address: IpNet::from(self.own.subnets.get(Family::V4)?.network()),
            network: *self.conf.networks.get(Family::V4)?,
        })
    }

    fn vxlan(&self, conf: &VxlanConf, family: Family) -> Option<Device> {
        let subnet = self.own.subnets.get(family)?;
        let parent = LinkRef { place: Place::Host, name: self.external.link.clone() };
        let carried = conf.mtu.unwrap_or(self.external.mtu).min(self.external.mtu);
        let kind = LinkKind::Vxlan(Vxlan {
            vni: conf.vni,
            parent: Some(parent),
            local: self.external.addresses.get(family).copied(),
            remote: None,
            port: conf.port,
            learning: conf.learning,
            gbp: conf.gbp,
        });
        Some(Device {
            family,
            link: Link {
                name: IfName::new(device_name(conf.vni, family)).ok()?,
                kind,
                mac: self.vteps.get(family).copied(),
                mtu: Some(carried.saturating_sub(overhead(family))),
            },
            parent: self.external.index,
            address: IpNet::from(subnet.network()),
            network: *self.conf.networks.get(family)?,
        })
    }

    /// One way per subnet, and one address per tunnel endpoint: of two nodes that claim the same, the first by name has it. Two subnets of one
    /// endpoint at one address are no contradiction: that is a machine which came back under another name.
    fn accepted(&self, problems: &mut Vec<String>) -> Vec<Accepted<'_>> {
        let mut accepted = Vec::new();
        let mut subnets: BTreeMap<IpNet, &str> = BTreeMap::new();
        let mut vteps: BTreeMap<(Family, Mac), (&str, IpAddr)> = BTreeMap::new();
        let mut leases: Vec<&Lease> =
            self.leases.iter().filter(|lease| lease.node != self.own.node).collect();
        leases.sort_by(|a, b| a.node.cmp(&b.node));
        for lease in leases {
            for (family, endpoint) in lease.endpoints.iter() {
                let node = lease.node.as_str();
                let clash = self.clash(node, family, endpoint).or_else(|| {
                    let of_tunnel = || {
                        let (first, public) = vteps.get(&(family, endpoint.vtep?))?;
                        (*public != endpoint.public).then_some(first)
                    };
                    let first = subnets.get(&endpoint.subnet).or_else(of_tunnel);
                    first
                        .map(|first| format!("node {node} claims what node {first} has: {}", endpoint.subnet))
                });
                if let Some(problem) = clash {
                    problems.push(problem);
                    continue;
                }
                subnets.insert(endpoint.subnet, node);
                vteps.extend(endpoint.vtep.map(|mac| ((family, mac), (node, endpoint.public))));
                accepted.push(Accepted { node, family, endpoint });
            }
        }
        accepted
    }

    /// Why an endpoint cannot be used whatever others say.
    fn clash(&self, node: &str, family: Family, endpoint: &Endpoint) -> Option<String> {
        let own = self.own.subnets.get(family);
        if own.is_some_and(|own| own.contains(&endpoint.subnet)) {
            return Some(format!(
                "node {node} claims this node's own subnet {}, or a part of it",
                endpoint.subnet
            ));
        }
        let network = self.conf.networks.get(family)?;
        (!network.contains(&endpoint.subnet))
            .then(|| format!("node {node}: podCIDR {} is not inside {network}", endpoint.subnet))
    }

    fn peer(&self, one: &Accepted<'_>, facts: &NsFacts, devices: &[Device]) -> Option<Peer> {
        let Accepted { node, family, endpoint } = *one;
        let node = node.to_owned();
        let direct = |link: &IfName| Route::new(endpoint.subnet, link).via(endpoint.public);
        if self.conf.backend == Backend::HostGw {
            return Some(Peer { node, tunnel: None, route: direct(&self.external.link) });
        }
        if let Some(link) = self.direct_link(endpoint.public, facts) {
            return Some(Peer { node, tunnel: None, route: direct(link) });
        }
        let device = devices.iter().find(|device| device.family == family)?;
        let (link, base) = (device.link.name.clone(), endpoint.subnet.network());
        if let LinkKind::Ipip { .. } = device.link.kind {
            // The next hop is where the outer packet goes.
            return Some(Peer { node, tunnel: None, route: Route { onlink: true, ..direct(&link) } });
        }
        let mac = endpoint.vtep?;
        let route = Route { onlink: true, ..Route::new(endpoint.subnet, &link).via(base) };
        let neighbour = Neighbour { link: link.clone(), ip: base, mac };
        Some(Peer { node, tunnel: Some((neighbour, Forwarding { link, mac, dst: endpoint.public })), route })
    }

    /// The link of a peer that is a neighbour, where those are to be reached directly.
    fn direct_link<'f>(&self, public: IpAddr, facts: &'f NsFacts) -> Option<&'f IfName> {
        let asks = self.conf.backend.direct_routing();
        let way = facts.ways.get(&public).filter(|way| asks && way.gw.is_none())?;
        (way.link != IfName::loopback()).then_some(&way.link)
    }
}

fn blackhole(subnet: IpNet) -> Route {
    let nowhere = Route::new(subnet, &IfName::loopback());
    Route { link: None, kind: RouteKind::Blackhole, ..nowhere }
}
