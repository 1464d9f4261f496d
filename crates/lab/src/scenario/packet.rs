//! Packets of our own, sent from inside a network namespace: ICMP echo, and TCP connections. No `ping` needed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use polynic_kernel::netns::{Netns, Pod};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, ipproto, recv, sendto, socket};

/// How long one echo may take before it is sent again.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often it is sent: the first may get lost while neighbours are looked for, and the machine may have much else to do.
const ATTEMPTS: u16 = 60;
/// How often it is sent to whom it is not expected to reach.
const FEW_ATTEMPTS: u16 = 6;
/// How long a connection, or an answer on it, may take.
const CONNECTING: Duration = Duration::from_secs(30);

/// Sends ICMP echo requests to `to` from inside `network`, with the source address `from` if given, until one is answered.
pub fn ping(network: &Netns<Pod>, from: Option<IpAddr>, to: IpAddr) -> Result<Duration, String> {
    ping_for(network, from, to, ATTEMPTS)
}

/// The same for whom it is not expected to reach.
pub fn glimpse(network: &Netns<Pod>, to: IpAddr) -> Result<Duration, String> {
    ping_for(network, None, to, FEW_ATTEMPTS)
}

fn ping_for(
    network: &Netns<Pod>,
    from: Option<IpAddr>,
    to: IpAddr,
    attempts: u16,
) -> Result<Duration, String> {
    let what = from.map(|ip| format!(" from {ip}")).unwrap_or_default();
    let echoed =
        network.run(move || echo(from, to, attempts)).map_err(|why| format!("enter the namespace: {why}"))?;
    echoed.map_err(|why| format!("{to} does not answer ping{what}: {why}"))
}

fn echo(from: Option<IpAddr>, to: IpAddr, attempts: u16) -> Result<Duration, String> {
    let socket = open(from, to).map_err(|why| format!("make an ICMP socket: {why}"))?;
    // Other processes' answers arrive here as well: the identifier tells them apart.
    let id = (std::process::id() & 0xffff) as u16;
    let mut last = String::new();
    for sequence in 1..=attempts {
        let sent = Instant::now();
        let request = request(to, id, sequence);
        match sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(to, 0)) {
            Ok(_) => {}
            Err(why) => {
                last = why.to_string();
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        }
        match answer(&socket, (to, id, sequence), sent) {
            Ok(time) => return Ok(time),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// A socket for echoes in the family of `to`, from an address of one's own if given.
pub fn open(from: Option<IpAddr>, to: IpAddr) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let socket = socket(family, SocketType::RAW, Some(protocol))?;
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// Sends echo requests, one after each pause, as long as `go_on` says so, and says how many were not answered: none may be. An answer may
/// be late, because this machine may be busy; one that is lost never comes.
pub fn stream(
    network: &Netns<Pod>,
    to: IpAddr,
    pause: Duration,
    go_on: impl FnMut(u16) -> bool + Send + 'static,
) -> Result<String, String> {
    let run = network.run(move || streamed(to, pause, go_on));
    run.map_err(|why| format!("enter the namespace: {why}"))?
}

/// How long an answer of a stream may take.
const LATEST: Duration = Duration::from_secs(30);

fn streamed(to: IpAddr, pause: Duration, mut go_on: impl FnMut(u16) -> bool) -> Result<String, String> {
    let failed = |what: &'static str| move |why: Errno| format!("{what}: {why}");
    let socket = open(None, to).map_err(failed("make an ICMP socket"))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(pause)).map_err(failed("set a timeout"))?;
    let id = (std::process::id() & 0xffff) as u16 ^ 0x5a5a;
    let mut missing = BTreeSet::new();
    let mut count = 0;
    while count < u16::MAX && go_on(count) {
        count += 1;
        missing.insert(count);
        // What cannot be sent is not answered.
        let _ = sendto(&socket, &request(to, id, count), SendFlags::empty(), &SocketAddr::new(to, 0));
        let sent = Instant::now();
        while sent.elapsed() < pause {
            hear(&socket, to, id, &mut missing);
        }
    }
    let ended = Instant::now();
    while !missing.is_empty() && ended.elapsed() < LATEST {
        hear(&socket, to, id, &mut missing);
    }
    match missing.is_empty() {
        true => Ok(format!("{count} of {count} answered")),
        false => Err(format!("of {count} not answered: {missing:?}")),
    }
}

/// Takes one packet in, if one comes.
fn hear(socket: &OwnedFd, to: IpAddr, id: u16, missing: &mut BTreeSet<u16>) {
    let mut buffer = [0; 2048];
    let Ok((length, _)) = recv(socket, &mut buffer, RecvFlags::empty()) else { return };
    let packet = &buffer[..length.min(2048)];
    let answered = missing.iter().copied().find(|sequence| is_answer(packet, to, id, *sequence));
    if let Some(sequence) = answered {
        missing.remove(&sequence);
    }
}

/// Sends a few echo requests that nobody may answer. That the way is there has to be shown otherwise.
pub fn silence(network: &Netns<Pod>, to: IpAddr) -> Result<String, String> {
    let run = network.run(move || {
        let socket = open(None, to).map_err(|why| format!("make an ICMP socket: {why}"))?;
        let pause = Duration::from_millis(60);
        set_socket_timeout(&socket, Timeout::Recv, Some(pause)).map_err(|why| why.to_string())?;
        let id = (std::process::id() & 0xffff) as u16 ^ 0x1111;
        for sequence in 1..=3 {
            // What cannot even be sent arrives nowhere.
            let _ = sendto(&socket, &request(to, id, sequence), SendFlags::empty(), &SocketAddr::new(to, 0));
            let sent = Instant::now();
            while sent.elapsed() < pause {
                let mut missing = (1..=sequence).collect();
                hear(&socket, to, id, &mut missing);
                if missing.len() < usize::from(sequence) {
                    return Err(format!("{to} answers"));
                }
            }
        }
        Ok(format!("{to} does not answer"))
    });
    run.map_err(|why| format!("enter the namespace: {why}"))?
}

/// Sends a datagram to a port until it is answered.
pub fn udp(network: &Netns<Pod>, to: IpAddr, port: u16) -> Result<String, String> {
    let run = network.run(move || asked_by_udp(SocketAddr::new(to, port)));
    let asked = run.map_err(|why| format!("enter the namespace: {why}"))?;
    asked.map_err(|why| format!("{to} does not answer at UDP port {port}: {why}"))
}

fn asked_by_udp(to: SocketAddr) -> std::io::Result<String> {
    let any = SocketAddr::new(unspecified(to.ip()), 0);
    let mut last = std::io::Error::other("never asked");
    for _ in 0..ATTEMPTS {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        let mut buffer = [0; 256];
        match socket.send(b"hello").and_then(|_| socket.recv(&mut buffer)) {
            Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()),
            // Refused: nobody listens there yet.
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// One datagram to a port, for ports that are not expected to answer.
pub fn udp_soon(network: &Netns<Pod>, to: IpAddr, port: u16) -> Result<String, String> {
    let asked = network.run(move || {
        let socket = UdpSocket::bind(SocketAddr::new(unspecified(to), 0))?;
        socket.set_read_timeout(Some(SOON))?;
        socket.connect((to, port))?;
        let mut buffer = [0; 256];
        let length = socket.send(b"hello").and_then(|_| socket.recv(&mut buffer))?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    });
    asked.and_then(|answer: std::io::Result<String>| answer).map_err(|why| format!("UDP to {to}: {why}"))
}

/// A connection to a port, for ports that are not expected to answer.
pub fn http_soon(network: &Netns<Pod>, to: IpAddr, port: u16) -> Result<String, String> {
    let asked = network.run(move || TcpStream::connect_timeout(&SocketAddr::new(to, port), SOON));
    let asked = asked.and_then(|connected| connected);
    asked.map(|_| "connected".to_owned()).map_err(|why| format!("TCP to {to}: {why}"))
}

/// How long to wait for what is not expected.
const SOON: Duration = Duration::from_millis(300);

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Sends an echo request in an IPv4 packet of so many bytes that may not be cut, until it is answered.
pub fn whole(network: &Netns<Pod>, to: IpAddr, length: usize) -> Result<(), String> {
    let run = network.run(move || {
        let socket = open(None, to).map_err(|why| format!("make an ICMP socket: {why}"))?;
        rustix::net::sockopt::set_ip_mtu_discover(&socket, rustix::net::sockopt::Ipv4PathMtuDiscovery::DO)
            .map_err(|why| format!("forbid cutting: {why}"))?;
        let id = (std::process::id() & 0xffff) as u16 ^ 0x3c3c;
        for sequence in 1..=ATTEMPTS {
            let sent = Instant::now();
            let request = padded(request(to, id, sequence), length.saturating_sub(20));
            sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(to, 0))
                .map_err(|why| why.to_string())?;
            if answer(&socket, (to, id, sequence), sent + PATIENCE).is_ok() {
                return Ok(());
            }
        }
        Err("no answer".to_owned())
    });
    run.map_err(|why| format!("enter the namespace: {why}"))?
}

/// The same ICMP packet with zeros behind it: their sum is zero, and so the checksum stays right.
fn padded(mut packet: Vec<u8>, length: usize) -> Vec<u8> {
    packet.resize(packet.len().max(length), 0);
    packet
}

const ECHO_REQUEST: [u8; 2] = [8, 128];
const ECHO_REPLY: [u8; 2] = [0, 129];

/// An echo request: RFC 792 and RFC 4443 4.1; the kernel fills in the checksum of ICMPv6 only.
pub fn request(to: IpAddr, id: u16, sequence: u16) -> Vec<u8> {
    let kind = ECHO_REQUEST[usize::from(to.is_ipv6())];
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(b"polynic-lab says hello, expects the same");
    if to.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// How long the answer took from `sent`, which is before the request left: between two namespaces of one machine it is there before the
/// call that sends returns.
fn answer(
    socket: &OwnedFd,
    (to, id, sequence): (IpAddr, u16, u16),
    sent: Instant,
) -> Result<Duration, String> {
    let mut buffer = [0; 2048];
    while sent.elapsed() < PATIENCE {
        let length = match recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(why) => return Err(why.to_string()),
        };
        if is_answer(&buffer[..length.min(2048)], to, id, sequence) {
            return Ok(sent.elapsed());
        }
    }
    Err("no answer".to_owned())
}

fn is_answer(packet: &[u8], to: IpAddr, id: u16, sequence: u16) -> bool {
    answered(packet, to) == Some((id, sequence))
}

/// Identifier and sequence number of an echo reply, as a socket in the family of `to` receives it: with IPv4 the IP header comes along.
pub fn answered(packet: &[u8], to: IpAddr) -> Option<(u16, u16)> {
    let header = match (to, packet.first()) {
        (IpAddr::V4(_), Some(first)) => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let [kind, _, _, _, a, b, c, d, ..] = packet.get(header..)? else { return None };
    let numbers = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    (*kind == ECHO_REPLY[usize::from(to.is_ipv6())]).then_some(numbers)
}

/// Opens a TCP connection from one namespace to `to` in another and carries a few bytes both ways. Returns the address that the server
/// saw: the source of the packets.
pub fn tcp(client: &Netns<Pod>, server: &Netns<Pod>, to: IpAddr) -> Result<IpAddr, String> {
    let any = unspecified(to);
    let listener = server.run(move || TcpListener::bind((any, 0))).and_then(|l| l);
    let listener = listener.map_err(|why| format!("listen for {to}: {why}"))?;
    let port = listener.local_addr().map_err(|why| why.to_string())?.port();
    let serving = std::thread::spawn(move || serve_one(&listener));
    let asked = client.run(move || ask(SocketAddr::new(to, port))).and_then(|answer| answer);
    if let Err(why) = asked {
        // Frees the server from waiting for somebody who will not come.
        let _ = server.run(move || TcpStream::connect(SocketAddr::new(to, port)).map(drop));
        return Err(format!("TCP to {to}: {why}"));
    }
    match serving.join() {
        Ok(seen) => seen.map_err(|why| format!("TCP to {to}: {why}")),
        Err(_) => Err("the server failed".to_owned()),
    }
}

/// Asks for a page by HTTP from inside a namespace; answers head and body.
pub fn http(client: &Netns<Pod>, to: IpAddr, port: u16) -> Result<String, String> {
    let asked = client.run(move || get_page(SocketAddr::new(to, port))).and_then(|answer| answer);
    asked.map_err(|why| format!("HTTP to {to}: {why}"))
}

fn get_page(server: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECTING)?;
    stream.set_read_timeout(Some(CONNECTING))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

const WORDS: &[u8; 12] = b"both ways ok";

fn serve_one(listener: &TcpListener) -> std::io::Result<IpAddr> {
    let (mut stream, peer) = listener.accept()?;
    let mut words = [0; WORDS.len()];
    stream.read_exact(&mut words)?;
    stream.write_all(&words)?;
    Ok(peer.ip())
}

fn ask(server: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, CONNECTING)?;
    stream.set_read_timeout(Some(CONNECTING))?;
    stream.write_all(WORDS)?;
    let mut words = [0; WORDS.len()];
    stream.read_exact(&mut words)?;
    if &words == WORDS { Ok(()) } else { Err(std::io::Error::other("other bytes came back")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// What a host makes of a request: RFC 792.
    fn reply_to(request: &[u8]) -> Vec<u8> {
        let mut reply = vec![0x45; 20];
        reply.extend(request);
        reply[20] = 0;
        reply
    }

    #[test]
    fn only_the_answer_to_this_very_request_counts() {
        let reply = reply_to(&request(V4, 7, 9));
        assert!(is_answer(&reply, V4, 7, 9));
        assert!(!is_answer(&reply, V4, 7, 8));
        assert!(!is_answer(&reply, V4, 6, 9));
        let mut question = reply.clone();
        question[20] = 8;
        assert!(!is_answer(&question, V4, 7, 9));
    }

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&request(V4, 0x1234, 1)), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_can_arrive(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = is_answer(&packet, V4, 1, 1);
            let _ = is_answer(&packet, IpAddr::V6(Ipv6Addr::LOCALHOST), 1, 1);
            let _ = checksum(&packet);
        }
    }
}
