//! Real packets, captured on the nodes' NICs.

use std::net::IpAddr;

use polynic_kernel::Capture;

use super::super::packet;
use super::super::reach::both_ways;
use super::super::world::Place::{Host, Pod};
use super::super::world::World;
use super::pods::{DOUBLE, WITH_NET1, address};
use super::{Finding, NGINX, NGINX2, NODES3, SERVICE, STRANGER, WEB};

/// Where flannel's packets go (IANA's number is 4789, Linux' older one this).
const PORT: u16 = 8472;

/// A packet on a node's NIC, as far as it matters.
struct Outer {
    source: [u8; 4],
    destination: [u8; 4],
    /// Protocol and destination port, if it is UDP.
    udp: Option<u16>,
    /// The frame inside, if it is flannel's.
    inner: Option<Inner>,
}

struct Inner {
    vni: u32,
    source: [u8; 4],
}

/// Reads an Ethernet frame with IPv4; others are of no interest.
fn outer(frame: &[u8]) -> Option<Outer> {
    let packet = ipv4(frame)?;
    let header = usize::from(packet[0] & 15) * 4;
    let udp = (packet[9] == 17).then(|| packet.get(header + 2..header + 4)).flatten();
    let udp = udp.map(|port| u16::from_be_bytes([port[0], port[1]]));
    let inner = udp.filter(|port| *port == PORT).and_then(|_| inner(packet.get(header + 8..)?));
    Some(Outer { source: address_at(packet, 12)?, destination: address_at(packet, 16)?, udp, inner })
}

/// RFC 7348, section 5: flags, VNI, then the frame.
fn inner(vxlan: &[u8]) -> Option<Inner> {
    let vni = u32::from_be_bytes([0, *vxlan.get(4)?, *vxlan.get(5)?, *vxlan.get(6)?]);
    let packet = ipv4(vxlan.get(8..)?)?;
    Some(Inner { vni, source: address_at(packet, 12)? })
}

fn ipv4(frame: &[u8]) -> Option<&[u8]> {
    (frame.get(12..14)? == [8, 0]).then(|| frame.get(14..)).flatten().filter(|packet| packet.len() >= 20)
}

fn address_at(packet: &[u8], at: usize) -> Option<[u8; 4]> {
    packet.get(at..at + 4)?.try_into().ok()
}

fn listen(world: &World, node: &str, nic: &str) -> Result<Capture, String> {
    let network = world.network(Host(node))?;
    let nic = nic.parse().map_err(|why| format!("{nic}: {why}"))?;
    Capture::open(&network, &nic).map_err(|why| format!("listen on {nic} of {node}: {why}"))
}

fn heard(capture: &Capture) -> Result<Vec<Outer>, String> {
    let frames = capture.frames().map_err(|why| format!("read captured packets: {why}"))?;
    Ok(frames.iter().filter_map(|frame| outer(frame)).collect())
}

/// What passes on both NICs of nginx2's node while nginx2 pings nginx.
fn ping_captured(world: &World) -> Result<[Vec<Outer>; 2], String> {
    let node = world.sandbox(NGINX2)?.node;
    let captures = [listen(world, &node, "eth0")?, listen(world, &node, "eth1")?];
    let to = address(world, NGINX, "net1")?;
    packet::ping(&world.network(Pod(NGINX2))?, None, to)?;
    Ok([heard(&captures[0])?, heard(&captures[1])?])
}

fn octets(ip: IpAddr) -> Result<[u8; 4], String> {
    match ip {
        IpAddr::V4(ip) => Ok(ip.octets()),
        IpAddr::V6(ip) => Err(format!("{ip} is no IPv4 address")),
    }
}

pub fn by_eth1(world: &World) -> Finding {
    let (own, peer) = (address(world, NGINX2, "net1")?, address(world, NGINX, "net1")?);
    let nodes = [world.sandbox(NGINX2)?.node, world.sandbox(NGINX)?.node];
    let [eth0, eth1] = ping_captured(world)?;
    if let Some(wrong) = eth0.iter().find(|p| p.udp == Some(PORT)) {
        return Err(format!("a VXLAN packet from {:?} was on eth0", wrong.source));
    }
    let between =
        [octets(world.addresses_on(&nodes[0], 1)?[0])?, octets(world.addresses_on(&nodes[1], 1)?[0])?];
    for (ends, source) in [(between, own), ([between[1], between[0]], peer)] {
        let source = octets(source)?;
        let is_it = |p: &&Outer| {
            (p.source, p.destination) == (ends[0], ends[1])
                && p.inner.as_ref().is_some_and(|inner| inner.vni == 1 && inner.source == source)
        };
        eth1.iter().find(is_it).ok_or_else(|| format!("no VXLAN packet of {source:?} was on eth1"))?;
    }
    Ok(format!("{own} -> {peer}: {} packets on eth1", eth1.iter().filter(|p| p.inner.is_some()).count()))
}

/// The bridge's node and the tunnel's far end each count one hop.
pub fn two_routers(world: &World) -> Finding {
    let node = world.sandbox(NGINX)?.node;
    let bridge = listen(world, &node, "cni0")?;
    packet::ping(&world.network(Pod(NGINX2))?, None, address(world, NGINX, "net1")?)?;
    let from = octets(address(world, NGINX2, "net1")?)?;
    let frames = bridge.frames().map_err(|why| why.to_string())?;
    let ttl =
        frames.iter().filter_map(|frame| ipv4(frame)).find(|p| address_at(p, 12) == Some(from)).map(|p| p[8]);
    super::super::same(&ttl, &Some(62))
}

pub fn edge_of_mtu(world: &World) -> Finding {
    let (here, to) = (world.network(Pod(NGINX2))?, address(world, NGINX, "net1")?);
    packet::whole(&here, to, 1450)?;
    match packet::whole(&here, to, 1451) {
        Err(why) if why.contains("too long") => {
            Ok("1450 bytes arrive, 1451 are told to be too long".to_owned())
        }
        Err(why) => Err(format!("1451 bytes: {why}")),
        Ok(()) => Err("1451 bytes arrived".to_owned()),
    }
}

pub fn default_network(world: &World) -> Finding {
    let (one, other) = (address(world, NGINX2, "eth0")?, address(world, NGINX, "eth0")?);
    both_ways(world, Pod(NGINX2), one, NGINX, other)
}

pub fn nodes(world: &World) -> Finding {
    for node in NODES3 {
        for (pod, home) in WITH_NET1 {
            let (there, to) = (world.network(Host(node))?, address(world, pod, "net1")?);
            packet::ping(&there, None, to).map_err(|why| format!("{node} -> {pod}: {why}"))?;
            packet::tcp(&there, &world.network(Pod(pod))?, to)
                .map_err(|why| format!("{node} -> {pod}: {why}"))?;
            let back = if node == home {
                super::subnet(world, node)?
            } else {
                format!("{}.0/24", super::stem(&super::subnet(world, node)?))
            };
            let ip = format!("{}.{}", super::stem(&back), u8::from(node == home));
            let ip: IpAddr = ip.parse().map_err(|why| format!("{ip}: {why}"))?;
            packet::ping(&world.network(Pod(pod))?, None, ip)
                .map_err(|why| format!("{pod} -> {node} {ip}: {why}"))?;
        }
    }
    Ok("ping and TCP, three nodes, two pods".to_owned())
}

pub fn stranger(world: &World) -> Finding {
    let (there, to) = (world.network(Host(STRANGER))?, address(world, NGINX, "net1")?);
    match packet::glimpse(&there, to) {
        Err(_) => Ok(format!("{to} does not answer {STRANGER}")),
        Ok(_) => Err(format!("{STRANGER} reaches {to}")),
    }
}

/// From net1's address to the host behind the router: the node's own address is what arrives there.
pub fn world_masqueraded(world: &World) -> Finding {
    let own = address(world, NGINX2, "net1")?;
    let stranger = world.host_addresses(STRANGER)?[0];
    let (here, there) = (world.network(Pod(NGINX2))?, world.network(Host(STRANGER))?);
    let gateway: IpAddr =
        format!("{}.1", super::stem(&own.to_string())).parse().map_err(|why| format!("{why}"))?;
    let _route = world.lend_route(NGINX2, stranger, gateway, "net1")?;
    let seen = packet::tcp(&here, &there, stranger)?;
    let node = world.sandbox(NGINX2)?.node;
    super::super::same(&seen, &world.addresses_on(&node, 1)?[0])
}

pub fn service(world: &World) -> Finding {
    let service = IpAddr::from(SERVICE);
    for (pod, _) in WITH_NET1 {
        let before = world.look(Pod(pod))?;
        let by: Vec<String> = before
            .routes()
            .filter(|r| r.dst.contains(&service) && !r.is_default())
            .map(ToString::to_string)
            .collect();
        if !by.iter().all(|route| route.contains("net1")) || by.is_empty() {
            return Err(format!("{pod} has {by:?}: the Service's address is not in flannel's network"));
        }
        packet::http(&world.network(Pod(pod))?, service, 80).map_err(|why| format!("{pod}: {why}"))?;
    }
    Ok(format!("{service} of {WEB}, by net1 and the node"))
}

pub fn both_answer(world: &World) -> Finding {
    for link in ["net1", "net2"] {
        let to = address(world, DOUBLE, link)?;
        packet::ping(&world.network(Host("node2"))?, None, to)?;
    }
    Ok("from the node".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(protocol: u8, source: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 62, protocol, 0, 0]);
        frame.extend(source);
        frame.extend([10, 0, 0, 2]);
        frame.extend(body);
        frame
    }

    #[test]
    fn a_packet_inside_a_packet_is_read() {
        let mut vxlan = vec![0, 0, 0x21, 0x18, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0];
        vxlan.extend(frame(1, [10, 233, 65, 2], &[]));
        let read = outer(&frame(17, [192, 168, 10, 12], &vxlan)).unwrap();
        assert_eq!((read.source, read.udp), ([192, 168, 10, 12], Some(8472)));
        let inner = read.inner.unwrap();
        assert_eq!((inner.vni, inner.source), (1, [10, 233, 65, 2]));
        assert!(outer(&frame(6, [1, 2, 3, 4], &vxlan)).unwrap().inner.is_none());
        assert!(outer(&[0; 20]).is_none());
    }
}
