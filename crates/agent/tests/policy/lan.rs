//! Pods on a network, and packets between them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polynic_e2e::{Node, Pod};

/// How long one try waits for an answer.
const PATIENCE: Duration = Duration::from_millis(200);
/// What passes may need neighbour discovery first.
const TRIES: u32 = 30;
/// What does not pass was seen to pass otherwise.
const TRIES_IN_VAIN: u32 = 3;

/// A bridge on the node with pods behind it, numbered from 1: `10.60.0.N` and `fd60::N` on `net1`.
pub struct Lan {
    pub node: Node,
    pub pods: Vec<Pod>,
}

impl Lan {
    /// A network of so many pods; nothing if this machine allows no namespaces.
    pub fn new(count: usize) -> Option<Self> {
        let node = Node::new()?;
        node.ip("link add lan type bridge\nlink set lan up");
        let mut lan = Self { node, pods: Vec::new() };
        for _ in 0..count {
            let pod = Pod::new();
            lan.pods.push(pod);
            lan.plug(lan.pods.len());
        }
        Some(lan)
    }

    /// A pod that is not on the network yet.
    pub fn unplugged(&mut self) -> usize {
        self.pods.push(Pod::new());
        self.pods.len()
    }

    /// Puts a pod on the network.
    pub fn plug(&self, number: usize) {
        let pod = self.pod(number);
        let name = pod.path.trim_start_matches("/run/netns/");
        self.node.ip(&format!(
            "link add p{number} type veth peer name net1 netns {name}
             link set p{number} master lan up"
        ));
        pod.ip(&format!(
            "link set lo up
             address add 10.60.0.{number}/16 dev net1
             address add fd60::{number}/64 dev net1 nodad
             link set net1 up"
        ));
    }

    pub fn pod(&self, number: usize) -> &Pod {
        &self.pods[number - 1]
    }

    /// Whether a datagram from one pod gets to a port of the other and the reply back.
    pub fn udp(&self, from: usize, to: usize, target: &str) -> bool {
        self.exchange(from, to, target, TRIES)
    }

    /// Whether none of a few datagrams is answered.
    pub fn udp_fails(&self, from: usize, to: usize, target: &str) -> bool {
        !self.exchange(from, to, target, TRIES_IN_VAIN)
    }

    fn exchange(&self, from: usize, to: usize, target: &str, tries: u32) -> bool {
        let target: SocketAddr = target.parse().unwrap();
        let server = self.listen(to, target, UdpSocket::bind);
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        (0..tries).any(|_| {
            // A new socket each time, so a new connection for the tracker.
            let client = self.pod(from).netns.run(move || bound(unspecified(target))).unwrap().unwrap();
            // What cannot be sent at all yet fails at once: a link that just came up takes a moment.
            let sent = client.send_to(b"ping", target).inspect_err(|_| std::thread::sleep(PATIENCE));
            sent.is_ok()
                && received(&server, &client).is_some_and(|source| server.send_to(b"pong", source).is_ok())
                && client.recv_from(&mut [0; 16]).is_ok()
        })
    }

    /// A socket at a port of a pod. The last one there may not be gone yet: programs that other tests start hold copies of all sockets
    /// for a moment.
    fn listen<S: Send + 'static>(
        &self,
        at: usize,
        target: SocketAddr,
        bind: fn(SocketAddr) -> io::Result<S>,
    ) -> S {
        let mut bound = None;
        until("the port is free", || {
            bound = self.pod(at).netns.run(move || bind(target)).unwrap().ok();
            bound.is_some()
        });
        bound.unwrap()
    }

    /// Whether a TCP connection from one pod to a port of the other comes about.
    pub fn tcp(&self, from: usize, to: usize, target: &str) -> bool {
        self.connects(from, to, target, TRIES)
    }

    /// Whether none of a few attempts to connect succeeds.
    pub fn tcp_fails(&self, from: usize, to: usize, target: &str) -> bool {
        !self.connects(from, to, target, TRIES_IN_VAIN)
    }

    fn connects(&self, from: usize, to: usize, target: &str, tries: u32) -> bool {
        let target: SocketAddr = target.parse().unwrap();
        let _listener = self.listen(to, target, TcpListener::bind);
        let connect = move || TcpStream::connect_timeout(&target, Duration::from_millis(400));
        (0..tries).any(|_| self.pod(from).netns.run(connect).unwrap().is_ok())
    }

    /// A TCP connection that stays open, from one pod to another.
    pub fn connection(&self, from: usize, to: usize, target: &str) -> Connection {
        let target: SocketAddr = target.parse().unwrap();
        let listener = self.listen(to, target, TcpListener::bind);
        let near = self.pod(from).netns.run(move || TcpStream::connect(target)).unwrap().unwrap();
        let (far, _) = listener.accept().unwrap();
        Connection { near, far }
    }

    /// Sends datagrams from a pod to a port of another, each from a new socket, until told to stop: answers how many were sent.
    pub fn pester(&self, from: usize, target: &str, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
        let (target, stop) = (target.parse::<SocketAddr>().unwrap(), stop.clone());
        let netns = self.pod(from).netns.clone();
        std::thread::spawn(move || {
            netns.enter().unwrap();
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                if bound(unspecified(target)).and_then(|socket| socket.send_to(b"no", target)).is_ok() {
                    sent += 1;
                }
            }
            sent
        })
    }
}

/// Both ends of a connection.
pub struct Connection {
    near: TcpStream,
    far: TcpStream,
}

impl Connection {
    /// Whether a byte still gets through.
    pub fn works(&mut self) -> bool {
        self.gets_through(Duration::from_secs(60))
    }

    /// The same for one that is not expected to get through.
    pub fn works_soon(&mut self) -> bool {
        self.gets_through(PATIENCE * 2)
    }

    /// Whether the far end is heard, which goes on sending by itself.
    pub fn is_heard(&mut self) -> bool {
        self.near.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        self.far.write_all(b"y").is_ok() && self.near.read_exact(&mut [0]).is_ok()
    }

    fn gets_through(&mut self, patience: Duration) -> bool {
        self.far.set_read_timeout(Some(patience)).unwrap();
        self.near.write_all(b"x").is_ok() && self.far.read_exact(&mut [0]).is_ok()
    }
}

pub fn bound(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

pub fn unspecified(like: SocketAddr) -> SocketAddr {
    if like.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() }
}

/// Who sent the client's datagram; what earlier clients sent may come late.
fn received(server: &UdpSocket, client: &UdpSocket) -> Option<SocketAddr> {
    let port = client.local_addr().ok()?.port();
    std::iter::from_fn(|| server.recv_from(&mut [0; 16]).ok())
        .map(|(_, source)| source)
        .find(|source| source.port() == port)
}

/// Waits for a condition; a minute is more than any machine needs.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
