//! DHCP messages as bytes (RFC 2131 section 2, options of RFC 2132): what a client sends, and whatever it may be sent.

use std::net::Ipv4Addr;

use polynic_net::Mac;

use crate::options::{Options, code};

/// The fixed part: everything before the magic cookie.
const HEADER: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const ETHERNET: u8 = 1;
const MAC_LENGTH: u8 = 6;
const BROADCAST: u16 = 0x8000;
/// Relays and servers of old expect messages of at least this size (RFC 1542, section 2.1).
const SHORTEST: usize = 300;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A client.
    Request,
    /// A server.
    Reply,
}

/// What a message is (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Is there a server?
    Discover,
    /// Here is an address.
    Offer,
    /// I want this address.
    Request,
    /// I must not have this address.
    Decline,
    /// It is yours.
    Ack,
    /// It is not yours.
    Nak,
    /// I do not need it any more.
    Release,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Discover, Self::Offer, Self::Request, Self::Decline, Self::Ack, Self::Nak, Self::Release];

    /// Numbered from 1 in the order of the RFC.
    fn number(self) -> u8 {
        Self::ALL.iter().zip(1..).find(|(kind, _)| **kind == self).map_or(0, |(_, number)| number)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub op: Op,
    /// Tells exchanges apart.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Answers must be broadcast.
    pub broadcast: bool,
    /// The client's address, if it has one and answers for it.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The relay's address.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: Mac,
    /// Everything else.
    pub options: Options,
}

impl Message {
    /// What a client says. `kind` is the first option.
    pub fn request(kind: Kind, xid: u32, chaddr: Mac) -> Self {
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, vec![kind.number()]);
        Self {
            op: Op::Request,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            options,
        }
    }

    /// What a server says.
    pub fn reply(kind: Kind, to: &Self, yiaddr: Ipv4Addr) -> Self {
        Self { op: Op::Reply, yiaddr, ..Self::request(kind, to.xid, to.chaddr) }
    }

    /// What the message is; absent: BOOTP, or unknown.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_number(*self.options.get(code::MESSAGE_TYPE)?.first()?)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let op = match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        };
        let flags = if self.broadcast { BROADCAST } else { 0 };
        let mut bytes = vec![op, ETHERNET, MAC_LENGTH, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        for ip in [self.ciaddr, self.yiaddr, Ipv4Addr::UNSPECIFIED, self.giaddr] {
            bytes.extend(ip.octets());
        }
        bytes.extend(self.chaddr.0);
        bytes.resize(HEADER, 0);
        bytes.extend(COOKIE);
        self.options.encode(&mut bytes);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// From bytes; nothing if they are no message for an Ethernet client.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let op = match header[..3] {
            [1, ETHERNET, MAC_LENGTH] => Op::Request,
            [2, ETHERNET, MAC_LENGTH] => Op::Reply,
            _ => return None,
        };
        let options = bytes.get(HEADER..)?.strip_prefix(&COOKIE)?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        Some(Self {
            op,
            xid: u32::from(ip(4)),
            secs: half(8),
            broadcast: half(10) & BROADCAST != 0,
            ciaddr: ip(12),
            yiaddr: ip(16),
            giaddr: ip(24),
            chaddr: Mac(*header[28..].first_chunk()?),
            // `sname` and `file` may hold more of them.
            options: Options::decode(options, &header[108..], &header[44..108]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let options = prop::collection::btree_map(1..255u8, prop::collection::vec(any::<u8>(), 0..600), 0..5);
        (any::<u32>(), any::<u16>(), any::<bool>(), any::<[u32; 2]>(), any::<[u8; 6]>(), options).prop_map(
            |(xid, secs, broadcast, [ciaddr, yiaddr], mac, options)| {
                let mut message = Message::request(Kind::Request, xid, Mac(mac));
                message.secs = secs;
                message.broadcast = broadcast;
                message.ciaddr = ciaddr.into();
                message.yiaddr = yiaddr.into();
                // 52 says where further options are, and is gone once they are read.
                for (code, value) in options.into_iter().filter(|(code, _)| *code != code::OVERLOAD) {
                    message.options.set(code, value);
                }
                message
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in message()) {
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            if let Some(start) = bytes.get_mut(..3) {
                start.copy_from_slice(&[2, 1, 6]);
            }
            if let Some(cookie) = bytes.get_mut(HEADER..HEADER + 4) {
                cookie.copy_from_slice(&COOKIE);
            }
            let _ = Message::decode(&bytes);
        }
    }

    #[test]
    fn a_discover_has_the_bytes_of_the_rfc() {
        let mut message = Message::request(Kind::Discover, 0x0102_0304, Mac([2, 0, 0, 0, 0, 9]));
        message.broadcast = true;
        let bytes = message.encode();
        assert_eq!(bytes.len(), 300);
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
        assert_eq!(bytes[28..34], [2, 0, 0, 0, 0, 9]);
        assert_eq!(bytes[236..244], [99, 130, 83, 99, 53, 1, 1, 255]);
    }

    #[test]
    fn options_are_read_from_the_overloaded_fields() {
        let mut bytes = Message::request(Kind::Ack, 1, Mac([2; 6])).encode();
        bytes[0] = 2;
        bytes[236..].copy_from_slice(&[&[99, 130, 83, 99, 53, 1, 5, 52, 1, 3, 255][..], &[0; 53]].concat());
        bytes[108..115].copy_from_slice(&[1, 4, 255, 255, 255, 0, 255]);
        bytes[44..51].copy_from_slice(&[3, 4, 10, 0, 0, 1, 255]);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.options.get(1), Some(&[255, 255, 255, 0][..]));
        assert_eq!(message.options.get(3), Some(&[10, 0, 0, 1][..]));
    }
}
