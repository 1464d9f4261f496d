//! The kernel's own work for one macvlan: the same operations that the plugin asks for, on sockets that are open already,
//! from a thread that is in the pod's namespace already, without configuration, plan, record or address store.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use polynic_kernel::netns::{Host, Netns, Pod};

use crate::message::{ACK, CREATE, Message, attribute, errno, link_index};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

/// One macvlan that can be made again and again.
pub(crate) struct Raw {
    /// Index of the parent, in the node's namespace.
    pub(crate) parent: u32,
    /// Name in the pod.
    pub(crate) name: &'static str,
    /// Address, of a /16.
    pub(crate) address: [u8; 4],
    /// Next hop of a route to `to`.
    pub(crate) gateway: [u8; 4],
    /// Destination of the route: (address, prefix length).
    pub(crate) to: ([u8; 4], u8),
}

/// Sockets on both sides.
pub(crate) struct Sockets {
    node: Socket,
    pod: Socket,
    netns: Netns<Pod>,
}

impl Sockets {
    /// Opens them; the calling thread is on the node.
    pub(crate) fn open(netns: &Netns<Pod>) -> anyhow::Result<Self> {
        Netns::<Host>::current()?;
        let node = Socket::new(NETLINK_ROUTE)?;
        let pod = netns.run(|| Socket::new(NETLINK_ROUTE))??;
        Ok(Self { node, pod, netns: netns.clone() })
    }

    /// The index of a link of the node.
    pub(crate) fn node_index(&self, name: &str) -> anyhow::Result<u32> {
        index(&self.node, name).with_context(|| format!("link {name}"))
    }
}

impl Raw {
    /// Makes it. Must run in the pod's namespace.
    pub(crate) fn attach(&self, sockets: &Sockets) -> anyhow::Result<Duration> {
        let start = Instant::now();
        talk(&sockets.node, &self.new_link(sockets)).context("make link")?;
        let index = index(&sockets.pod, self.name)?;
        fs::write(format!("/proc/sys/net/ipv4/conf/{}/arp_notify", self.name), "1")?;
        talk(&sockets.pod, &self.new_address(index)).context("add address")?;
        talk(&sockets.pod, &up(index)).context("bring up")?;
        talk(&sockets.pod, &self.new_route(index)).context("add route")?;
        Ok(start.elapsed())
    }

    /// Removes it again.
    pub(crate) fn detach(&self, sockets: &Sockets) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let request = Message::new(RTM_DELLINK, ACK, &[0; 16]).attr(3, &zero_ended(self.name)).finish();
        talk(&sockets.pod, &request).context("delete link")?;
        Ok(start.elapsed())
    }

    /// IFLA_IFNAME, IFLA_LINK, IFLA_NET_NS_FD, IFLA_LINKINFO (kind, data: mode bridge).
    fn new_link(&self, sockets: &Sockets) -> Vec<u8> {
        let netns = std::os::fd::AsFd::as_fd(&sockets.netns).as_raw_fd();
        let mode = attribute(1, &4u32.to_ne_bytes());
        let info = [attribute(1, b"macvlan"), attribute(2, &mode)].concat();
        Message::new(RTM_NEWLINK, ACK | CREATE, &[0; 16])
            .attr(3, &zero_ended(self.name))
            .attr(5, &self.parent.to_ne_bytes())
            .attr(28, &netns.to_ne_bytes())
            .attr(18, &info)
            .finish()
    }

    /// IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST.
    fn new_address(&self, index: u32) -> Vec<u8> {
        let mut header = vec![2, 16, 0, 0];
        header.extend(index.to_ne_bytes());
        let [a, b, _, _] = self.address;
        Message::new(RTM_NEWADDR, ACK | CREATE, &header)
            .attr(2, &self.address)
            .attr(1, &self.address)
            .attr(4, &[a, b, 255, 255])
            .finish()
    }

    /// RTA_DST, RTA_GATEWAY, RTA_OIF in table main.
    fn new_route(&self, index: u32) -> Vec<u8> {
        let (to, length) = self.to;
        Message::new(RTM_NEWROUTE, ACK | CREATE, &[2, length, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])
            .attr(1, &to)
            .attr(5, &self.gateway)
            .attr(4, &index.to_ne_bytes())
            .finish()
    }
}

fn up(index: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    // IFF_UP as flag and as mask.
    header.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    Message::new(RTM_NEWLINK, ACK, &header).finish()
}

fn zero_ended(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn index(socket: &Socket, name: &str) -> io::Result<u32> {
    let request = Message::new(RTM_GETLINK, 0, &[0; 16]).attr(3, &zero_ended(name)).finish();
    let answer = exchange(socket, &request)?;
    match errno(&answer) {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => link_index(&answer).ok_or_else(|| io::Error::other("short answer")),
    }
}

fn talk(socket: &Socket, request: &[u8]) -> io::Result<()> {
    match errno(&exchange(socket, request)?) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("no acknowledgement")),
    }
}

fn exchange(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    let mut answer = Vec::with_capacity(8192);
    socket.recv(&mut answer, 0)?;
    Ok(answer)
}
