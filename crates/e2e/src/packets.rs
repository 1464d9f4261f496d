//! Packets: a datagram and its reply between sockets of two namespaces.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use polynic_kernel::netns::Netns;

/// How long one try waits. The first may be lost to neighbour discovery or duplicate address detection.
const PATIENCE: Duration = Duration::from_millis(150);
/// A reachable peer answers within the first tries even on a busy machine; an unreachable one costs all of them.
const TRIES: u32 = 12;

/// Whether a datagram from one namespace gets to an address of another one and the reply back.
pub fn reaches<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> bool {
    source_seen(from, to, address).is_some()
}

/// Which source address the receiver sees, if the datagram gets there and the reply back.
pub fn source_seen<A: 'static, B: 'static>(from: &Netns<A>, to: &Netns<B>, address: &str) -> Option<IpAddr> {
    let address: IpAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let server = to.run(move || socket(any)).unwrap();
    let client = from.run(move || socket(any)).unwrap();
    let target = SocketAddr::new(address, server.local_addr().unwrap().port());
    (0..TRIES).find_map(|_| exchange(&client, &server, target).ok())
}

/// Sockets stay in the namespace they were made in.
fn socket(any: &str) -> UdpSocket {
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn exchange(client: &UdpSocket, server: &UdpSocket, target: SocketAddr) -> io::Result<IpAddr> {
    // Without a route sending fails at once: do not use up the tries faster than an address can become usable.
    client.send_to(b"ping", target).inspect_err(|_| std::thread::sleep(PATIENCE))?;
    let mut buffer = [0; 16];
    let (_, source) = server.recv_from(&mut buffer)?;
    server.send_to(b"pong", source)?;
    client.recv_from(&mut buffer)?;
    Ok(source.ip())
}
