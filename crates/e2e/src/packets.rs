//! Packets: a datagram and its reply between sockets of two namespaces.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use polynic_kernel::netns::Netns;

/// How long one try waits.
const PATIENCE: Duration = Duration::from_millis(150);
/// The first packets may be lost to neighbour discovery, and addresses of new links take seconds to become usable.
const TRIES: u32 = 100;
/// What never arrives need not be tried as often: the test has seen the same path work.
const TRIES_IN_VAIN: u32 = 4;

/// Whether a datagram from one namespace gets to an address of another one and the reply back.
pub fn reaches<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> bool {
    source_seen(from, to, address).is_some()
}

/// A service in a namespace: it answers what comes to its port at any of its addresses.
pub struct Service {
    socket: UdpSocket,
}

impl Service {
    /// Listens on a port, for IPv4 and IPv6.
    pub fn new<P: 'static>(at: &Netns<P>, port: u16) -> Self {
        let socket = at.run(move || socket(SocketAddr::new([0_u16; 8].into(), port)).unwrap()).unwrap();
        Self { socket }
    }

    /// As [`Self::new`], for IPv4 alone.
    pub fn for_ipv4<P: 'static>(at: &Netns<P>, port: u16) -> Self {
        let socket = at.run(move || socket(SocketAddr::new([0; 4].into(), port)).unwrap()).unwrap();
        Self { socket }
    }

    /// Which source address it sees, if a datagram sent to `target` gets to it and the reply back.
    pub fn source_of<P: 'static>(&self, from: &Netns<P>, target: &str) -> Option<IpAddr> {
        self.ask(&client(from, target), target, TRIES)
    }

    /// Whether none of a few datagrams to `target` gets to it and back.
    pub fn is_cut_off<P: 'static>(&self, from: &Netns<P>, target: &str) -> bool {
        self.ask(&client(from, target), target, TRIES_IN_VAIN).is_none()
    }

    /// As [`Self::source_of`], from a socket that is there already.
    pub fn source_of_socket(&self, client: &UdpSocket, target: &str) -> Option<IpAddr> {
        self.ask(client, target, TRIES)
    }

    fn ask(&self, client: &UdpSocket, target: &str, tries: u32) -> Option<IpAddr> {
        let target = target.parse().unwrap();
        let seen = (0..tries).find_map(|_| one_exchange(client, &self.socket, target).ok())?;
        Some(seen.to_canonical())
    }
}

/// A socket to ask a target of this family from.
pub fn client<P: 'static>(from: &Netns<P>, target: &str) -> UdpSocket {
    let target: SocketAddr = target.parse().unwrap();
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    from.run(move || socket(any.parse().unwrap())).unwrap().unwrap()
}

/// Whether none of a few datagrams is answered. To mean something, the same must have worked without the obstacle.
pub fn is_cut_off<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> bool {
    exchange(from, to, address, TRIES_IN_VAIN).is_none()
}

/// Which source address the receiver sees, if the datagram gets there and the reply back.
pub fn source_seen<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> Option<IpAddr> {
    exchange(from, to, address, TRIES)
}

fn exchange<A: 'static, B: 'static>(
    from: &Netns<A>,
    to: &Netns<B>,
    address: &str,
    tries: u32,
) -> Option<IpAddr> {
    let address: IpAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    // The reply must come from the address that was asked: a masquerading node in between knows no other.
    let at = SocketAddr::new(address, 0);
    let server = to.run(move || (0..TRIES).find_map(|_| socket(at).ok())).unwrap()?;
    let client = from.run(move || socket(any.parse().unwrap())).unwrap().unwrap();
    let target = server.local_addr().unwrap();
    (0..tries).find_map(|_| one_exchange(&client, &server, target).ok())
}

/// Sockets stay in the namespace they were made in. An address cannot be bound to while it is being probed for duplicates.
fn socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at).inspect_err(|_| std::thread::sleep(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn one_exchange(client: &UdpSocket, server: &UdpSocket, target: SocketAddr) -> io::Result<IpAddr> {
    // Without a route sending fails at once: do not use up the tries faster than an address can become usable.
    client.send_to(b"ping", target).inspect_err(|_| std::thread::sleep(PATIENCE))?;
    let mut buffer = [0; 16];
    let (_, source) = server.recv_from(&mut buffer)?;
    server.send_to(b"pong", source)?;
    client.recv_from(&mut buffer)?;
    Ok(source.ip())
}
