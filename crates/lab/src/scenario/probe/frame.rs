//! Which probe a captured frame belongs to, and in which direction it goes. Pure.

use std::collections::BTreeSet;

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Whoever asks.
    Asker,
    /// Whoever is asked.
    Asked,
}

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
/// Echo request and reply: ICMP (RFC 792), and ICMPv6 (RFC 4443, 4).
const ECHO: [(u8, u8, u8); 2] = [(1, 8, 0), (58, 128, 129)];

/// The number of the probe among `numbers`, and the sender, of an Ethernet frame.
pub fn read(frame: &[u8], numbers: &BTreeSet<u16>) -> Option<(u16, Sender)> {
    let (protocol, payload) = payload(frame)?;
    if protocol == TCP {
        let (from, to) = (number(payload, 0)?, number(payload, 2)?);
        let pair = [(from, Sender::Asker), (to, Sender::Asked)];
        return pair.into_iter().find(|(port, _)| numbers.contains(port));
    }
    let (_, request, reply) = ECHO.into_iter().find(|(echo, ..)| *echo == protocol)?;
    let sender = match *payload.first()? {
        kind if kind == request => Sender::Asker,
        kind if kind == reply => Sender::Asked,
        _ => return None,
    };
    let number = number(payload, 4)?;
    numbers.contains(&number).then_some((number, sender))
}

/// The protocol above IP and its packet. IPv6 extension headers are not looked behind, and later fragments not at.
fn payload(frame: &[u8]) -> Option<(u8, &[u8])> {
    let kind: [u8; 2] = frame.get(12..14)?.try_into().ok()?;
    let packet = frame.get(14..)?;
    match kind {
        IPV4 => {
            let fragment = number(packet, 6)? & 0x1fff;
            let header = usize::from(packet.first()? & 15) * 4;
            (fragment == 0).then_some((*packet.get(9)?, packet.get(header..)?))
        }
        IPV6 => Some((*packet.get(6)?, packet.get(40..)?)),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV4);
        frame.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol]);
        frame.extend([0; 10]);
        frame.extend(body);
        frame
    }

    fn v6(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV6);
        frame.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
        frame.extend([0; 32]);
        frame.extend(body);
        frame
    }

    fn segment(from: u16, to: u16) -> Vec<u8> {
        [from.to_be_bytes(), to.to_be_bytes()].concat()
    }

    fn numbers() -> BTreeSet<u16> {
        [10_001, 10_002].into()
    }

    #[test]
    fn the_clients_port_tells_a_connection_and_its_direction() {
        assert_eq!(read(&v4(TCP, &segment(10_001, 80)), &numbers()), Some((10_001, Sender::Asker)));
        assert_eq!(read(&v6(TCP, &segment(80, 10_002)), &numbers()), Some((10_002, Sender::Asked)));
        assert_eq!(read(&v4(TCP, &segment(10_003, 80)), &numbers()), None);
    }

    #[test]
    fn echoes_are_known_by_their_identifier_in_either_family() {
        let echo = |kind: u8| [vec![kind, 0, 0, 0], 10_001_u16.to_be_bytes().to_vec()].concat();
        assert_eq!(read(&v4(1, &echo(8)), &numbers()), Some((10_001, Sender::Asker)));
        assert_eq!(read(&v4(1, &echo(0)), &numbers()), Some((10_001, Sender::Asked)));
        assert_eq!(read(&v6(58, &echo(128)), &numbers()), Some((10_001, Sender::Asker)));
        assert_eq!(read(&v6(58, &echo(129)), &numbers()), Some((10_001, Sender::Asked)));
        // A neighbour solicitation, and an ICMP type that only means an echo in the other family.
        assert_eq!(read(&v6(58, &echo(135)), &numbers()), None);
        assert_eq!(read(&v4(1, &echo(128)), &numbers()), None);
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut frame = v4(TCP, &segment(10_001, 80));
        frame[14 + 7] = 1;
        assert_eq!(read(&frame, &numbers()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_arrive(frame in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = read(&frame, &numbers());
        }
    }
}
