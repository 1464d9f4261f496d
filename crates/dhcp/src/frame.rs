//! Messages in Ethernet frames: a client without an address cannot use the kernel's UDP.

use std::net::Ipv4Addr;

use polynic_net::Mac;

use crate::message::Message;

/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// The port of servers.
pub const SERVER_PORT: u16 = 67;
const BROADCAST: Mac = Mac([0xff; 6]);
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const ETHERNET_HEADER: usize = 14;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The station.
    pub mac: Mac,
    /// The address.
    pub ip: Ipv4Addr,
}

impl Destination {
    /// To all servers.
    pub const ALL: Self = Self { mac: BROADCAST, ip: Ipv4Addr::BROADCAST };
}

/// A client's message as a frame. It comes from `message.ciaddr`, which is unspecified as long as there is none.
pub fn build(message: &Message, to: Destination) -> Vec<u8> {
    let payload = message.encode();
    // A message of a client has some hundred bytes: its options are bounded by the configuration (255 bytes each).
    let udp_length = (UDP_HEADER + payload.len()) as u16;
    let from = message.ciaddr.octets();
    let mut ip = vec![0x45, 0x10];
    ip.extend((IP_HEADER as u16 + udp_length).to_be_bytes());
    ip.extend([0, 0, 0, 0, TIME_TO_LIVE, UDP, 0, 0]);
    ip.extend(from);
    ip.extend(to.ip.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut udp = Vec::with_capacity(usize::from(udp_length));
    for half in [CLIENT_PORT, SERVER_PORT, udp_length, 0] {
        udp.extend(half.to_be_bytes());
    }
    udp.extend(payload);
    let [high, low] = udp_length.to_be_bytes();
    let sum = match checksum(&[&from, &to.ip.octets(), &[0, UDP, high, low], &udp]) {
        // 0 would say that there is none (RFC 768).
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    [&to.mac.0[..], &message.chaddr.0, &ETHERTYPE_IPV4, &ip, &udp].concat()
}

/// The message in a frame for a client, and which station sent the frame.
///
/// The checksum of UDP is not looked at: between two ends of a virtual cable it is not computed, and the link's own has
/// protected the frame everywhere else.
pub fn parse(frame: &[u8]) -> Option<(Message, Mac)> {
    let sender = Mac(*frame.get(6..)?.first_chunk()?);
    let ip = frame.get(ETHERNET_HEADER..)?;
    let header = usize::from(ip.first()? & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    if header < IP_HEADER || *ip.get(9)? != UDP || checksum(&[ip.get(..header)?]) != 0 {
        return None;
    }
    let udp = ip.get(header..total)?;
    if u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]) != CLIENT_PORT {
        return None;
    }
    Some((Message::decode(udp.get(UDP_HEADER..)?)?, sender))
}

/// The Internet checksum (RFC 1071) over parts, of which only the last may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Kind, Op};
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn both_checksums_are_right() {
        let frame = build(&Message::request(Kind::Discover, 7, MAC), Destination::ALL);
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 0]);
        assert_eq!(checksum(&[&frame[14..34]]), 0);
        let length = (frame.len() - 34) as u16;
        assert_eq!(checksum(&[&frame[26..34], &[0, 17], &length.to_be_bytes(), &frame[34..]]), 0);
    }

    #[test]
    fn an_answer_is_read_with_its_sender() {
        let asked = Message::request(Kind::Discover, 7, MAC);
        let answer = Message::reply(Kind::Offer, &asked, Ipv4Addr::new(10, 0, 0, 9));
        let mut frame = build(&answer, Destination { mac: MAC, ip: Ipv4Addr::new(10, 0, 0, 9) });
        frame[36..38].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        let (read, sender) = parse(&frame).unwrap();
        assert_eq!((read.op, read.kind(), sender), (Op::Reply, Some(Kind::Offer), MAC));
        assert_eq!(read, answer);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
