//! Frames of ARP (RFC 826) and neighbour discovery (RFC 4861), built and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_net::Mac;

const BROADCAST: [u8; 6] = [0xff; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Ethernet, IPv4, lengths of their addresses.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u8 = 1;
/// The smallest Ethernet frame without its checksum.
const SHORTEST: usize = 60;
const ICMPV6: u8 = 58;
/// Proves that a packet was not forwarded (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
/// The advertised entry replaces what is cached.
const OVERRIDE: u8 = 0x20;
const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The link's hardware address.
    pub(crate) mac: Mac,
    /// The sender's address; unspecified where there is none, as in duplicate address detection.
    pub(crate) ip: IpAddr,
}

/// A frame that asks all stations for the owner of `target`.
pub(crate) fn question(source: Source, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let sender = if let IpAddr::V4(ip) = source.ip { ip } else { Ipv4Addr::UNSPECIFIED };
            arp_request(source.mac, sender, target)
        }
        IpAddr::V6(target) => {
            let sender = if let IpAddr::V6(ip) = source.ip { ip } else { Ipv6Addr::UNSPECIFIED };
            solicitation(source.mac, sender, target)
        }
    }
}

/// Frames that tell all stations that `ip` is at `source.mac`; `source.ip` is the link-local address for IPv6.
pub(crate) fn announcement(source: Source, ip: IpAddr) -> Vec<Vec<u8>> {
    match (ip, source.ip) {
        (IpAddr::V4(ip), _) => vec![arp_request(source.mac, ip, ip)],
        (IpAddr::V6(ip), IpAddr::V6(from)) if !from.is_unspecified() => {
            vec![advertisement(source.mac, from, ip), solicitation(source.mac, from, ip)]
        }
        (IpAddr::V6(ip), _) => vec![advertisement(source.mac, ip, ip)],
    }
}

/// Who says in this frame that it owns which address.
pub(crate) fn claim(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    match frame.get(12..14)?.try_into().ok()? {
        ETHERTYPE_ARP => claim_in_arp(frame),
        ETHERTYPE_IPV6 => claim_in_advertisement(frame),
        _ => None,
    }
}

/// A reply, or a request by somebody who uses the address (RFC 5227, section 2.1.1). Probes have no sender.
fn claim_in_arp(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let arp: &[u8; 28] = frame.get(ETHERNET_HEADER..)?.first_chunk()?;
    if arp[..6] != ARP_ETHERNET_IPV4 {
        return None;
    }
    let mac = Mac(*arp[8..].first_chunk()?);
    let ip = Ipv4Addr::from(*arp[14..].first_chunk::<4>()?);
    (!ip.is_unspecified()).then_some((ip.into(), mac))
}

fn claim_in_advertisement(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let header: &[u8; IPV6_HEADER] = frame.get(ETHERNET_HEADER..)?.first_chunk()?;
    let message = frame.get(ETHERNET_HEADER + IPV6_HEADER..)?;
    if header[6] != ICMPV6 || header[7] != HOP_LIMIT || message.first() != Some(&ADVERTISEMENT) {
        return None;
    }
    let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
    let named = options(message.get(24..)?).find(|(kind, _)| *kind == OPTION_TARGET);
    let sender = Mac(*frame.get(6..)?.first_chunk()?);
    let mac = named.and_then(|(_, value)| Some(Mac(*value.first_chunk()?))).unwrap_or(sender);
    Some((target.into(), mac))
}

/// Options of a neighbour discovery message: kind and value.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let &[kind, units] = bytes.first_chunk()?;
        let length = usize::from(units) * 8;
        let value = bytes.get(2..length)?;
        bytes = &bytes[length..];
        Some((kind, value))
    })
}

fn arp_request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend([0, ARP_REQUEST]);
    frame.extend(mac.0);
    frame.extend(sender.octets());
    frame.extend(BROADCAST);
    frame.extend(target.octets());
    frame.resize(SHORTEST, 0);
    frame
}

fn solicitation(mac: Mac, sender: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    // Whoever has no address yet must not say at which hardware address it is (RFC 4861, section 7.1.1).
    let option = (!sender.is_unspecified()).then_some((OPTION_SOURCE, mac));
    let message = discovery(SOLICITATION, 0, target, option);
    packet(mac, sender, solicited_nodes(target), message)
}

fn advertisement(mac: Mac, sender: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    packet(mac, sender, all_nodes, discovery(ADVERTISEMENT, OVERRIDE, target, Some((OPTION_TARGET, mac))))
}

fn solicited_nodes(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// A message whose checksum is still zero.
fn discovery(kind: u8, flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    if let Some((kind, mac)) = option {
        message.extend([kind, 1]);
        message.extend(mac.0);
    }
    message
}

fn packet(mac: Mac, sender: Ipv6Addr, group: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    // The message has at most 32 bytes.
    let length = message.len() as u8;
    let sum = checksum(&[&sender.octets(), &group.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let [.., a, b, c, d] = group.octets();
    let mut frame = ethernet([0x33, 0x33, a, b, c, d], mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT]);
    frame.extend(sender.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// The Internet checksum (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn ethernet(to: [u8; 6], from: Mac, kind: [u8; 2]) -> Vec<u8> {
    [&to[..], &from.0, &kind].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn source(ip: &str) -> Source {
        Source { mac: MAC, ip: ip.parse().unwrap() }
    }

    #[test]
    fn an_arp_probe_has_no_sender_and_claims_nothing() {
        let frame = question(source("0.0.0.0"), "192.0.2.7".parse().unwrap());
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6]);
        assert_eq!(frame[20..32], [0, 1, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(frame[32..42], [255, 255, 255, 255, 255, 255, 192, 0, 2, 7]);
        assert_eq!(claim(&frame), None);
    }

    #[test]
    fn a_gratuitous_request_claims_its_address() {
        let frames = announcement(source("0.0.0.0"), "192.0.2.7".parse().unwrap());
        assert_eq!(claim(&frames[0]), Some(("192.0.2.7".parse().unwrap(), MAC)));
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target() {
        let frame = question(source("fe80::9"), "fd00::1:2:3".parse().unwrap());
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 2, 0, 3]);
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!(verified(&frame), 0);
        let nameless = question(source("::"), "fd00::1:2:3".parse().unwrap());
        assert_eq!(nameless.len(), 14 + 40 + 24);
        assert_eq!(verified(&nameless), 0);
    }

    #[test]
    fn an_advertisement_claims_its_target() {
        let frames = announcement(source("fe80::9"), "fd00::7".parse().unwrap());
        assert_eq!(frames.len(), 2);
        assert_eq!(claim(&frames[0]), Some(("fd00::7".parse().unwrap(), MAC)));
        assert_eq!(claim(&frames[1]), None);
        assert_eq!(verified(&frames[0]), 0);
    }

    #[test]
    fn a_forwarded_advertisement_claims_nothing() {
        let mut frame = announcement(source("fe80::9"), "fd00::7".parse().unwrap()).remove(0);
        frame[21] = 64;
        assert_eq!(claim(&frame), None);
    }

    /// The checksum over a packet with a right checksum.
    fn verified(frame: &[u8]) -> u16 {
        let message = &frame[54..];
        checksum(&[&frame[22..54], &[0, 0, 0, message.len() as u8, 0, 0, 0, ICMPV6], message])
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), arp: bool) {
            let mut frame = bytes;
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(if arp { &ETHERTYPE_ARP } else { &ETHERTYPE_IPV6 });
            }
            let _ = claim(&frame);
        }
    }
}
