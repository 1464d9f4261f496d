//! The backend wireguard: its options, what a node tells of its tunnel, and the tunnels that follow from the leases (spec/flannel.md 8). Pure.
//!
//! A tunnel carries one family, or both: then a peer's address is of the family that the mode prefers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use polynic_net::{
    Family, IfName, IpNet, Link, LinkKind, Route, WireguardFact, WireguardKey, WireguardOwn, WireguardPeer,
    WireguardSecret, scope,
};
use serde::Deserialize;

use crate::desired::Accepted;
use crate::{PerFamily, Wish};

/// The tunnel of IPv4, or of both families.
pub const TUNNEL: &str = "flannel-wg";
/// The tunnel of IPv6 alone.
pub const TUNNEL_V6: &str = "flannel-wg-v6";
/// Bytes that a tunnel needs for itself, whatever carries it.
const OVERHEAD: u32 = 80;

/// Options of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardConf {
    /// UDP port of the tunnel that carries IPv4, or both.
    pub port: u16,
    /// UDP port of the tunnel that carries IPv6 alone.
    pub port_v6: u16,
    /// A secret that all nodes have beside their keys.
    pub shared: Option<WireguardSecret>,
    /// MTU of the carrying network in bytes, before the tunnel's overhead; absent: that of the external interface.
    pub mtu: Option<u32>,
    /// Which tunnels there are.
    pub mode: Mode,
    /// Seconds between packets that keep ways through address translation open; 0: none.
    pub keepalive: u16,
}

impl Default for WireguardConf {
    fn default() -> Self {
        Self { port: 51820, port_v6: 51821, shared: None, mtu: None, mode: Mode::Separate, keepalive: 0 }
    }
}

/// Which tunnels there are, and by which family they are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One for each family, carried by the same.
    Separate,
    /// One for both, carried by IPv4 to peers that have it, else by IPv6.
    Auto,
    /// One for both, carried by IPv4.
    V4,
    /// One for both, carried by IPv6.
    V6,
}

/// What a node tells of its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireguardEnd {
    /// Its public key.
    pub key: WireguardKey,
    /// The port that it listens on.
    pub port: u16,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "PublicKey")]
    key: WireguardKey,
    #[serde(rename = "Port")]
    port: u16,
}

impl WireguardEnd {
    /// Reads a backend's data.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Data { key, port } = serde_json::from_str(text).ok()?;
        (port != 0).then_some(Self { key, port })
    }

    /// The backend's data. The order of keys is part of the contract.
    pub(crate) fn data(&self) -> String {
        format!(r#"{{"PublicKey":"{}","Port":{}}}"#, self.key, self.port)
    }
}

/// This node's key pair, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The private half.
    pub secret: WireguardSecret,
    /// The public half, which the kernel works out once there is a tunnel.
    pub public: Option<WireguardKey>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq)]
pub struct WireguardTunnel {
    /// The link.
    pub link: Link,
    /// Key and port.
    pub own: WireguardOwn,
    /// Its addresses: the subnets' bases, for this host alone.
    pub addresses: Vec<IpNet>,
    /// The whole networks that it leads into.
    pub networks: Vec<IpNet>,
    /// The peers.
    pub peers: Vec<TunnelPeer>,
}

/// A peer of a tunnel.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelPeer {
    /// The node.
    pub node: String,
    /// What the link is set to.
    pub peer: WireguardPeer,
    /// Its endpoint was set before: where the kernel sends now is where the peer spoke from since.
    pub is_told: bool,
}

/// The endpoints that tunnels were seen to have as they should.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told(BTreeMap<(IfName, WireguardKey), SocketAddr>);

impl Told {
    /// Notes which endpoints are as wanted; forgets those of peers that are gone or have moved.
    pub(crate) fn learn(&mut self, tunnels: &[WireguardTunnel], facts: &[WireguardFact]) {
        let mut told = BTreeMap::new();
        for tunnel in tunnels {
            let fact = facts.iter().find(|fact| fact.link == tunnel.link.name);
            let there = fact.iter().flat_map(|fact| &fact.peers).map(|peer| (peer.key, peer.endpoint));
            let there: BTreeMap<_, _> = there.collect();
            for TunnelPeer { peer, is_told, .. } in &tunnel.peers {
                let shown = there.get(&peer.key);
                if let (Some(shown), Some(wanted)) = (shown, peer.endpoint)
                    && (*is_told || *shown == Some(wanted))
                {
                    told.insert((tunnel.link.name.clone(), peer.key), wanted);
                }
            }
        }
        self.0 = told;
    }

    fn has(&self, link: &IfName, peer: &WireguardPeer) -> bool {
        peer.endpoint.is_some() && self.0.get(&(link.clone(), peer.key)).copied() == peer.endpoint
    }
}

impl WireguardConf {
    /// The tunnels with their ports and what they carry, of the families that are on.
    fn tunnels(&self, on: &[Family]) -> Vec<(&'static str, u16, Vec<Family>)> {
        if self.mode != Mode::Separate {
            return vec![(TUNNEL, self.port, on.to_vec())];
        }
        let own = |family: &Family| match family {
            Family::V4 => (TUNNEL, self.port, vec![Family::V4]),
            Family::V6 => (TUNNEL_V6, self.port_v6, vec![Family::V6]),
        };
        on.iter().map(own).collect()
    }

    /// What this node tells of its tunnels.
    pub(crate) fn ends(&self, on: &[Family], key: WireguardKey) -> PerFamily<WireguardEnd> {
        let tunnels = self.tunnels(on).into_iter();
        tunnels
            .flat_map(|(_, port, carries)| {
                carries.into_iter().map(move |family| (family, WireguardEnd { key, port }))
            })
            .collect()
    }

    /// The family that carries a tunnel of both.
    fn preferred(&self) -> Family {
        if self.mode == Mode::V6 { Family::V6 } else { Family::V4 }
    }
}

/// The tunnels with their peers, and what is wrong with single ones.
pub(crate) fn tunnels(
    wish: &Wish<'_>,
    conf: &WireguardConf,
    accepted: &[Accepted<'_>],
) -> (Vec<WireguardTunnel>, Vec<String>) {
    let (mut tunnels, mut problems) = (Vec::new(), Vec::new());
    let on: Vec<Family> = wish.conf.networks.families().collect();
    for (name, port, carries) in conf.tunnels(&on) {
        let Ok(name) = IfName::new(name) else { continue };
        let mtu = conf.mtu.unwrap_or(wish.external.mtu).min(wish.external.mtu).saturating_sub(OVERHEAD);
        let of = |family: &Family| wish.own.subnets.get(*family).map(|net| IpNet::from(net.network()));
        let mut peers = Peers { wish, conf, link: &name, found: Vec::new(), by_key: BTreeMap::new() };
        for one in accepted.iter().filter(|one| carries.contains(&one.family)) {
            problems.extend(peers.add(one).err());
        }
        let peers = peers.found;
        tunnels.push(WireguardTunnel {
            link: Link { mtu: Some(mtu), ..Link::new(name, LinkKind::Wireguard) },
            own: WireguardOwn { secret: wish.wireguard.map(|pair| pair.secret), port },
            addresses: carries.iter().filter_map(of).collect(),
            networks: carries.iter().filter_map(|family| wish.conf.networks.get(*family).copied()).collect(),
            peers,
        });
    }
    (tunnels, problems)
}

/// The peers of one tunnel: one for each key. Two nodes of one key at one address are no contradiction: that is a machine which came back
/// under another name.
struct Peers<'a> {
    wish: &'a Wish<'a>,
    conf: &'a WireguardConf,
    link: &'a IfName,
    found: Vec<TunnelPeer>,
    by_key: BTreeMap<WireguardKey, Known>,
}

/// What is known of a key.
struct Known {
    /// Where its peer is among those found.
    at: usize,
    port: u16,
    public: PerFamily<IpAddr>,
}

impl Peers<'_> {
    fn add(&mut self, one: &Accepted<'_>) -> Result<(), String> {
        let Accepted { node, family, endpoint } = *one;
        let Some(end) = endpoint.wireguard else { return Ok(()) };
        if self.wish.wireguard.and_then(|pair| pair.public) == Some(end.key) {
            if self.wish.external.public.get(family) == Some(&endpoint.public) {
                return Ok(());
            }
            return Err(format!("node {node} has this node's WireGuard key: its key file is a copy"));
        }
        let address = SocketAddr::new(endpoint.public, end.port);
        let Some(before) = self.by_key.get_mut(&end.key) else {
            let public = PerFamily::from_iter([(family, endpoint.public)]);
            self.by_key.insert(end.key, Known { at: self.found.len(), port: end.port, public });
            let peer = WireguardPeer {
                key: end.key,
                shared: self.conf.shared,
                endpoint: Some(address),
                keepalive: self.conf.keepalive,
                allowed: vec![endpoint.subnet],
            };
            let is_told = self.wish.told.has(self.link, &peer);
            self.found.push(TunnelPeer { node: node.to_owned(), peer, is_told });
            return Ok(());
        };
        let known = &mut self.found[before.at];
        if known.node != node && before.public.get(family) != Some(&endpoint.public) {
            return Err(format!(
                "node {node} has the WireGuard key of node {}: one of their key files is a copy",
                known.node
            ));
        }
        if before.port != end.port && known.node != node {
            return Err(format!(
                "node {node} and node {} are one machine with two ports ({} and {}): remove the object of the one that is gone",
                known.node, end.port, before.port
            ));
        }
        if before.port != end.port {
            return Err(format!(
                "node {node} has a tunnel for each family (Mode separate) and this node one for both: {family} does not reach it"
            ));
        }
        if before.public.get(family).is_none() {
            before.public.set(family, Some(endpoint.public));
        }
        known.peer.allowed.push(endpoint.subnet);
        known.peer.allowed.sort();
        if family == self.conf.preferred() {
            known.peer.endpoint = Some(address);
            known.is_told = self.wish.told.has(self.link, &known.peer);
        }
        Ok(())
    }
}

impl WireguardTunnel {
    /// The ways into the networks.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        let route = |net: &IpNet| {
            let scope = if net.addr().is_ipv4() { scope::LINK } else { scope::UNIVERSE };
            Route { scope, ..Route::new(*net, &self.link.name) }
        };
        self.networks.iter().map(route)
    }
}

#[cfg(test)]
mod tests;
