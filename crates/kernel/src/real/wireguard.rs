//! WireGuard links: keys, ports and peers, by generic netlink (include/uapi/linux/wireguard.h).
//!
//! The kernel has no "only if it is not there" for peers: a peer is put, whatever it was. One whose endpoint does not change keeps the one that
//! it has, which may be where it spoke from last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use polynic_net::{
    Diff, IfName, IpNet, Wireguard, WireguardFact, WireguardKey, WireguardOwn, WireguardPart, WireguardPeer,
    WireguardSecret,
};

use super::space::Space;
use super::{Wanted, wanted};
use crate::Errno;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::{Raw, attribute, nested};
use crate::netlink::{Fault, Socket};

/// Generic netlink's own family, which knows the numbers of the others (include/uapi/linux/genetlink.h).
mod control {
    pub(super) const FAMILY: u16 = 0x10;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
}

const NAME: &[u8] = b"wireguard\0";
const VERSION: u8 = 1;
const GET_DEVICE: u8 = 0;
const SET_DEVICE: u8 = 1;
/// Length of generic netlink's header.
const HEADER: usize = 4;

mod device {
    pub(super) const NAME: u16 = 2;
    pub(super) const PRIVATE_KEY: u16 = 3;
    pub(super) const PUBLIC_KEY: u16 = 4;
    pub(super) const LISTEN_PORT: u16 = 6;
    pub(super) const PEERS: u16 = 8;
}

mod peer {
    pub(super) const PUBLIC_KEY: u16 = 1;
    pub(super) const SHARED_KEY: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
    pub(super) const ENDPOINT: u16 = 4;
    pub(super) const KEEPALIVE: u16 = 5;
    pub(super) const ALLOWED: u16 = 9;

    pub(super) const REMOVE: u32 = 1;
    pub(super) const REPLACE_ALLOWED: u32 = 2;
}

mod allowed {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const ADDRESS: u16 = 2;
    pub(super) const LENGTH: u16 = 3;
}

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

impl Space {
    pub(super) fn change_wireguard(&mut self, diff: &Diff<Wireguard>) -> Result<(), Fault> {
        match wanted(diff) {
            Some(Wanted::Create(after)) => self.set_wireguard(after, true),
            Some(Wanted::Delete(before)) => self.unset_wireguard(before),
            Some(Wanted::Replace(before, after)) => {
                if !is_same(before, after) {
                    self.unset_wireguard(before)?;
                }
                self.set_wireguard(after, !has_same_endpoint(before, after))
            }
            None => Ok(()),
        }
    }

    /// The settings of a link; none if there is no such link, or it is of another kind.
    pub(super) fn wireguard(&mut self, link: &IfName) -> Result<Option<WireguardFact>, Fault> {
        let absent = [Errno::ENOENT, Errno::ENODEV, Errno::EOPNOTSUPP];
        match self.dump_wireguard(link) {
            Ok(parts) => Ok(join(link, parts)),
            Err(fault) if absent.into_iter().any(|errno| fault.is(errno)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn dump_wireguard(&mut self, link: &IfName) -> Result<Vec<WireguardFact>, Fault> {
        let (socket, family) = self.wireguard_socket()?;
        let message = request(*family, GET_DEVICE, link);
        socket.dump(message, |payload| Some(read(link, payload)))
    }

    fn set_wireguard(&mut self, wanted: &Wireguard, with_endpoint: bool) -> Result<(), Fault> {
        let (socket, family) = self.wireguard_socket()?;
        socket.change(setting(*family, wanted, with_endpoint), 0)
    }

    fn unset_wireguard(&mut self, gone: &Wireguard) -> Result<(), Fault> {
        let (socket, family) = self.wireguard_socket()?;
        let message = request(*family, SET_DEVICE, &gone.link);
        let message = match &gone.part {
            WireguardPart::Own(_) => message.with_attributes(&own(&WireguardOwn { secret: None, port: 0 })),
            WireguardPart::Peer(gone) => {
                let gone = [
                    attribute(peer::PUBLIC_KEY, &gone.key.0),
                    attribute(peer::FLAGS, &peer::REMOVE.to_ne_bytes()),
                ];
                message.with_attributes(&peers(&gone.concat()))
            }
        };
        socket.change(message, 0)
    }

    /// The socket, and the number that the kernel gave WireGuard's family.
    fn wireguard_socket(&mut self) -> Result<&mut (Socket, u16), Fault> {
        match &mut self.wireguard {
            Some(open) => Ok(open),
            none => {
                let opened =
                    self.netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_GENERIC)).flatten();
                let mut socket = opened.map_err(|e| Fault::io(&e))?;
                let family = family_number(&mut socket)?;
                Ok(none.insert((socket, family)))
            }
        }
    }
}

fn family_number(socket: &mut Socket) -> Result<u16, Fault> {
    let header = [control::GET_FAMILY, VERSION, 0, 0];
    let message = Raw::new(control::FAMILY, &header).with(control::FAMILY_NAME, NAME);
    socket.get(message, |payload| Attrs::after(payload, HEADER).get(control::FAMILY_ID).and_then(attrs::u16))
}

fn request(family: u16, command: u8, link: &IfName) -> Raw {
    let name = [link.as_str().as_bytes(), &[0]].concat();
    Raw::new(family, &[command, VERSION, 0, 0]).with(device::NAME, &name)
}

fn setting(family: u16, wanted: &Wireguard, with_endpoint: bool) -> Raw {
    let message = request(family, SET_DEVICE, &wanted.link);
    match &wanted.part {
        WireguardPart::Own(wanted) => message.with_attributes(&own(wanted)),
        WireguardPart::Peer(wanted) => {
            let endpoint = wanted.endpoint.filter(|_| with_endpoint);
            message.with_attributes(&peers(&put(wanted, endpoint)))
        }
    }
}

/// Without a key there is none: that is what 32 zeros say.
fn secret_bytes(secret: Option<&WireguardSecret>) -> [u8; 32] {
    secret.map_or([0; 32], |secret| *secret.bytes())
}

fn own(own: &WireguardOwn) -> Vec<u8> {
    let key = attribute(device::PRIVATE_KEY, &secret_bytes(own.secret.as_ref()));
    [key, attribute(device::LISTEN_PORT, &own.port.to_ne_bytes())].concat()
}

/// A list of one peer.
fn peers(peer: &[u8]) -> Vec<u8> {
    nested(device::PEERS, &nested(0, peer))
}

fn put(wanted: &WireguardPeer, endpoint: Option<SocketAddr>) -> Vec<u8> {
    let allowed: Vec<u8> = wanted.allowed.iter().flat_map(allowed_net).collect();
    let parts = [
        attribute(peer::PUBLIC_KEY, &wanted.key.0),
        attribute(peer::SHARED_KEY, &secret_bytes(wanted.shared.as_ref())),
        attribute(peer::FLAGS, &peer::REPLACE_ALLOWED.to_ne_bytes()),
        endpoint.map(|endpoint| attribute(peer::ENDPOINT, &socket_address(endpoint))).unwrap_or_default(),
        attribute(peer::KEEPALIVE, &wanted.keepalive.to_ne_bytes()),
        nested(peer::ALLOWED, &allowed),
    ];
    parts.concat()
}

fn allowed_net(net: &IpNet) -> Vec<u8> {
    let (family, address) = match net.addr() {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    let parts = [
        attribute(allowed::FAMILY, &family.to_ne_bytes()),
        attribute(allowed::ADDRESS, &address),
        attribute(allowed::LENGTH, &[net.prefix_len()]),
    ];
    nested(0, &parts.concat())
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&AF_INET.to_ne_bytes()[..], &port, &v4.ip().octets(), &[0; 8]].concat(),
        SocketAddr::V6(v6) => {
            let (flow, scope) = (v6.flowinfo().to_ne_bytes(), v6.scope_id().to_ne_bytes());
            [&AF_INET6.to_ne_bytes()[..], &port, &flow, &v6.ip().octets(), &scope].concat()
        }
    }
}

fn read_socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip = match attrs::u16(bytes)? {
        AF_INET => IpAddr::from(Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?)),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What one message of a list says. A link with many peers takes several.
fn read(link: &IfName, payload: &[u8]) -> WireguardFact {
    let list = Attrs::after(payload, HEADER);
    let key = |kind| list.get(kind).and_then(|bytes| bytes.try_into().ok()).filter(|key| *key != [0; 32]);
    let port = list.get(device::LISTEN_PORT).and_then(attrs::u16).unwrap_or_default();
    WireguardFact {
        link: link.clone(),
        own: WireguardOwn { secret: key(device::PRIVATE_KEY).map(WireguardSecret::private), port },
        key: key(device::PUBLIC_KEY).map(WireguardKey),
        peers: list.nested(device::PEERS).filter_map(|(_, peer)| read_peer(Attrs::new(peer))).collect(),
    }
}

fn read_peer(list: Attrs<'_>) -> Option<WireguardPeer> {
    let shared = list.get(peer::SHARED_KEY).and_then(|bytes| bytes.try_into().ok());
    Some(WireguardPeer {
        key: WireguardKey(list.get(peer::PUBLIC_KEY)?.try_into().ok()?),
        shared: shared.and_then(WireguardSecret::shared),
        endpoint: list.get(peer::ENDPOINT).and_then(read_socket_address),
        keepalive: list.get(peer::KEEPALIVE).and_then(attrs::u16).unwrap_or_default(),
        allowed: list.nested(peer::ALLOWED).filter_map(|(_, net)| read_allowed(Attrs::new(net))).collect(),
    })
}

fn read_allowed(list: Attrs<'_>) -> Option<IpNet> {
    let ip = list.get(allowed::ADDRESS).and_then(attrs::ip)?;
    IpNet::new(ip, *list.get(allowed::LENGTH)?.first()?).ok()
}

/// One fact from the messages of a list. The first alone speaks of the link itself; a peer whose networks do not fit goes on in the next.
fn join(link: &IfName, parts: Vec<WireguardFact>) -> Option<WireguardFact> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next()?;
    for more in parts.flat_map(|part| part.peers) {
        match whole.peers.last_mut().filter(|last| last.key == more.key) {
            Some(last) => last.allowed.extend(more.allowed),
            None => whole.peers.push(more),
        }
    }
    whole.peers.iter_mut().for_each(|peer| peer.allowed.sort());
    whole.link = link.clone();
    Some(whole)
}

/// Whether both are about the same part.
fn is_same(one: &Wireguard, other: &Wireguard) -> bool {
    let peer = |part: &WireguardPart| match part {
        WireguardPart::Own(_) => None,
        WireguardPart::Peer(peer) => Some(peer.key),
    };
    one.link == other.link && peer(&one.part) == peer(&other.part)
}

fn has_same_endpoint(one: &Wireguard, other: &Wireguard) -> bool {
    match (&one.part, &other.part) {
        (WireguardPart::Peer(one), WireguardPart::Peer(other)) => {
            one.key == other.key && one.endpoint == other.endpoint
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkSerializable as _;
    use proptest::prelude::*;

    use super::*;

    fn name() -> IfName {
        IfName::new("flannel-wg").unwrap()
    }

    fn a_peer() -> WireguardPeer {
        WireguardPeer {
            key: WireguardKey([7; 32]),
            shared: WireguardSecret::shared([9; 32]),
            endpoint: Some("192.0.2.1:51820".parse().unwrap()),
            keepalive: 25,
            allowed: vec!["10.233.2.0/24".parse().unwrap(), "fd60:0:0:2::/64".parse().unwrap()],
        }
    }

    fn bytes(raw: &Raw) -> Vec<u8> {
        let mut bytes = vec![0; raw.buffer_len()];
        raw.serialize(&mut bytes);
        bytes
    }

    /// What is asked for is laid out as what is listed, so one reads the other.
    #[test]
    fn what_is_put_is_read_back() {
        let mut v6 = a_peer();
        v6.endpoint = Some("[fd10::2]:51821".parse().unwrap());
        for peer in [a_peer(), v6] {
            let put = bytes(&setting(30, &Wireguard::peer(&name(), peer.clone()), true));
            assert_eq!(read(&name(), &put).peers, std::slice::from_ref(&peer));
            let kept = bytes(&setting(30, &Wireguard::peer(&name(), peer), false));
            assert_eq!(read(&name(), &kept).peers[0].endpoint, None);
        }
        let own = WireguardOwn { secret: Some(WireguardSecret::private([3; 32])), port: 51820 };
        assert_eq!(read(&name(), &bytes(&setting(30, &Wireguard::own(&name(), own), true))).own, own);
    }

    #[test]
    fn an_endpoint_has_the_bytes_of_a_socket_address() {
        let bytes = socket_address("192.0.2.1:51820".parse().unwrap());
        assert_eq!(bytes, [2, 0, 0xca, 0x6c, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(socket_address("[fd10::2]:51821".parse().unwrap()).len(), 28);
    }

    #[test]
    fn a_list_in_several_messages_is_one_link() {
        let part = |peers: Vec<WireguardPeer>, port| WireguardFact {
            link: name(),
            own: WireguardOwn { secret: None, port },
            key: None,
            peers,
        };
        let rest = WireguardPeer { allowed: vec!["10.1.0.0/16".parse().unwrap()], ..a_peer() };
        let other = WireguardPeer { key: WireguardKey([8; 32]), ..a_peer() };
        let whole = join(&name(), vec![part(vec![a_peer()], 7), part(vec![rest, other], 0)]).unwrap();
        assert_eq!((whole.own.port, whole.peers.len(), whole.peers[0].allowed.len()), (7, 2, 3));
        assert!(whole.peers[0].allowed.is_sorted());
        assert_eq!(join(&name(), Vec::new()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(payload: Vec<u8>) {
            let _ = read(&name(), &payload);
            let _ = read_socket_address(&payload);
        }
    }
}
