//! Ending TCP connections of a namespace, both ends being told (net/ipv4/inet_diag.c, `SOCK_DESTROY`).
//!
//! A connection that tracking has forgotten begins anew with the next packet of the end that is here, and then its answers pass. So the end
//! that is here goes as well. It is named by the kernel's own cookie: a request by addresses alone could find the listener instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_net::Flow;

use super::space::Space;
use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` of include/uapi/linux/sock_diag.h.
const LIST: u16 = 20;
const DESTROY: u16 = 21;
const TCP: u8 = 6;
/// All states but `TCP_LISTEN`.
const STATES: u32 = !(1 << 10);
/// Where `struct inet_diag_sockid` is in `struct inet_diag_msg`, and how long it is.
const ID_AT: usize = 4;
const ID_LEN: usize = 48;

/// A connection's end that is here.
struct End {
    family: u8,
    /// Ports, addresses, link and cookie, as the kernel names it.
    id: [u8; ID_LEN],
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

impl Space {
    /// Ends the TCP connections among `flows` that have an end here, as far as it goes: kernels without `CONFIG_INET_DIAG_DESTROY` refuse.
    pub(super) fn end_connections(&mut self, flows: &[Flow]) -> Result<(), Fault> {
        let flows: Vec<&Flow> = flows.iter().filter(|flow| flow.protocol == TCP).collect();
        if flows.is_empty() {
            return Ok(());
        }
        let opened = self.netns.run(|| Socket::open(netlink_sys::protocols::NETLINK_SOCK_DIAG)).flatten();
        let mut socket = opened.map_err(|e| Fault::io(&e))?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let all = Raw::new(LIST, &request(family as u8, &[0; ID_LEN]));
            let ends: Vec<End> = socket.dump(all, end)?;
            for end in ends.iter().filter(|end| flows.iter().any(|flow| end.is_of(flow))) {
                // It may have ended by itself.
                let _ = socket.change(Raw::new(DESTROY, &request(end.family, &end.id)), 0);
            }
        }
        Ok(())
    }
}

impl End {
    fn is_of(&self, flow: &Flow) -> bool {
        let (from, to) = ((flow.source, flow.source_port), (flow.destination, flow.port));
        (self.local, self.remote) == (from, to) || (self.local, self.remote) == (to, from)
    }
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, id: &[u8; ID_LEN]) -> Vec<u8> {
    let mut bytes = vec![family, TCP, 0, 0];
    bytes.extend(STATES.to_ne_bytes());
    bytes.extend(id);
    bytes
}

fn end(payload: &[u8]) -> Option<End> {
    let family = *payload.first()?;
    let id: [u8; ID_LEN] = *payload.get(ID_AT..)?.first_chunk()?;
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    let ip = |at: usize| -> Option<IpAddr> {
        if i32::from(family) == libc::AF_INET {
            return id[at..].first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into());
        }
        // A socket of IPv6 that speaks with IPv4.
        id[at..].first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical())
    };
    Some(End { family, id, local: (ip(4)?, port(0)), remote: (ip(20)?, port(2)) })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn flow(from: SocketAddr, to: SocketAddr) -> Flow {
        Flow {
            source: from.ip(),
            source_port: from.port(),
            destination: to.ip(),
            protocol: TCP,
            port: to.port(),
        }
    }

    #[test]
    fn a_connection_ends_and_its_listener_and_the_others_stay() {
        let Some(scratch) = crate::testing::scratch_netns() else { return };
        let mut space = Space::open(scratch.host.clone().anywhere()).unwrap();
        let up = polynic_net::Change::up(polynic_net::Place::Host, &polynic_net::IfName::loopback());
        crate::Kernel::apply(&mut crate::RealKernel::new(scratch.host.clone(), None).unwrap(), &up).unwrap();
        // The last one listens for both families, as many servers do.
        for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let bound = listener.local_addr().unwrap();
            let to = if at == "[::]:0" { SocketAddr::from(([127, 0, 0, 1], bound.port())) } else { bound };
            let connect = || {
                let client = TcpStream::connect(to).unwrap();
                (client, listener.accept().unwrap().0)
            };
            let (mut cut, _server) = connect();
            let (mut kept, mut other) = connect();
            let gone = flow(cut.local_addr().unwrap(), to);
            space.end_connections(&[gone]).unwrap();
            assert!(cut.read(&mut [0; 8]).is_err(), "{at}: it is reset, not closed");
            std::io::Write::write_all(&mut other, b"still").unwrap();
            kept.read_exact(&mut [0; 5]).unwrap();
            // What is not there any more finds nobody, least of all the listener.
            space.end_connections(&[gone]).unwrap();
            connect();
        }
    }

    #[test]
    fn an_end_is_read_and_nonsense_is_not() {
        let mut shown = vec![libc::AF_INET as u8, 1, 0, 0];
        shown.extend(80_u16.to_be_bytes());
        shown.extend(4000_u16.to_be_bytes());
        shown.extend([10, 0, 0, 1]);
        shown.extend([0; 12]);
        shown.extend([10, 0, 0, 2]);
        shown.extend([0; 24]);
        let end = end(&shown).unwrap();
        let of = |from: &str, to: &str| end.is_of(&flow(from.parse().unwrap(), to.parse().unwrap()));
        assert!(of("10.0.0.2:4000", "10.0.0.1:80") && of("10.0.0.1:80", "10.0.0.2:4000"));
        assert!(!of("10.0.0.2:4001", "10.0.0.1:80") && !of("10.0.0.3:4000", "10.0.0.1:80"));
        assert!(super::end(&shown[..20]).is_none() && super::end(&[]).is_none());
    }
}
