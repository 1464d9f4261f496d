//! SCTP by hand: the first packet of an association (RFC 9260, 3.3.2), which needs no SCTP in this kernel.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, sendto, socket};
use serde_json::json;

use crate::lan::Lan;
use crate::packets::{Rendering, from};

const SCTP: u32 = 132;
/// How long one packet is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// What passes may need neighbour discovery first.
const TRIES: u16 = 30;
/// What does not pass was seen to pass otherwise.
const TRIES_IN_VAIN: u16 = 3;

/// Ports, tag, checksum; then a chunk INIT of 20 bytes: tag, window, streams out and in, number.
fn init(source: u16, target: u16) -> Vec<u8> {
    let mut packet = [source.to_be_bytes(), target.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    packet
}

fn raw(like: SocketAddr) -> OwnedFd {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = std::num::NonZeroU32::new(SCTP).map(Protocol::from_raw);
    let socket = socket(family, SocketType::RAW, protocol).unwrap();
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
    socket
}

/// Whether one of so many packets from one pod to a port of the other arrives.
fn arrives(lan: &Lan, (source, target): (usize, usize), port: &str, tries: u16) -> bool {
    let to: SocketAddr = port.parse().unwrap();
    let listener = lan.pod(target).netns.run(move || raw(to)).unwrap();
    let sender = lan.pod(source).netns.run(move || raw(to)).unwrap();
    (0..tries).any(|attempt| {
        let packet = init(40_000 + attempt, to.port());
        // A raw socket has no ports.
        if sendto(&sender, &packet, SendFlags::empty(), &SocketAddr::new(to.ip(), 0)).is_err() {
            std::thread::sleep(PATIENCE);
        }
        let mut buffer = [0; 256];
        // IPv4 packets come with their header.
        std::iter::from_fn(|| {
            recv(&listener, &mut buffer, RecvFlags::empty()).ok().map(|(length, _)| buffer[..length].to_vec())
        })
        .any(|heard| heard.ends_with(&packet))
    })
}

#[test]
fn sctp_has_ports_of_its_own() {
    let Some(lan) = Lan::new(3) else { return };
    let passes = |from, port| arrives(&lan, (from, 1), port, TRIES);
    let fails = |from, port| !arrives(&lan, (from, 1), port, TRIES_IN_VAIN);
    assert!(passes(2, "10.60.0.1:7000") && passes(2, "[fd60::1]:7001"), "without policies all passes");
    let mut rendering = Rendering::new(&lan);
    let ports =
        json!([{"protocol": "SCTP", "port": 7000, "endPort": 7001}, {"protocol": "UDP", "port": 7002}]);
    rendering.policy("in", json!({"podSelector": {}, "ingress": [{"from": [from(2)], "ports": ports}]}));
    rendering.enforce();
    assert!(passes(2, "10.60.0.1:7000") && passes(2, "10.60.0.1:7001") && passes(2, "[fd60::1]:7000"));
    assert!(fails(2, "10.60.0.1:7002") && fails(2, "[fd60::1]:7002"), "that is a port of UDP");
    assert!(fails(3, "10.60.0.1:7000") && fails(3, "[fd60::1]:7001"), "nobody allows that pod");
    assert!(lan.udp(2, 1, "10.60.0.1:7002") && lan.udp_fails(2, 1, "10.60.0.1:7000"));
}
