//! The kernel's own answer about a route, as `ip route get` has it.

use std::net::IpAddr;

use polynic_net::Family;
use polynic_net::stack::FibRoute;

use super::routes::{self, HEADER};
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;
use crate::netlink::{Fault, Socket};
use crate::{Errno, KernelError};

/// Attributes of include/uapi/linux/rtnetlink.h that libc does not name.
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;
/// Say which table it was (IPv6 always does, and refuses to be told); show the route instead of what came of it.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Which packet the question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteQuestion {
    /// Its destination; nothing is asked without.
    pub to: Option<IpAddr>,
    /// Its source.
    pub from: Option<IpAddr>,
    /// It came in by this link.
    pub iif: Option<u32>,
    /// It has to go out by this link.
    pub oif: Option<u32>,
    /// Its mark.
    pub mark: u32,
    /// Its transport protocol.
    pub protocol: Option<u8>,
    /// Its source port, for TCP and UDP.
    pub source_port: Option<u16>,
    /// Its destination port, for TCP and UDP.
    pub port: Option<u16>,
}

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// It goes that way.
    Way {
        /// What comes of it: the hop is the one that this very packet takes, the source the one that it gets.
        way: FibRoute,
        /// The route that says so; none where the kernel did without one.
        route: Option<FibRoute>,
    },
    /// It goes nowhere.
    Refused(Errno),
}

pub(super) fn ask(socket: &mut Socket, question: &RouteQuestion) -> Result<RouteAnswer, KernelError> {
    let Some(to) = question.to else {
        return Err(Fault::Talk("a question about no destination".into()).about("ask for a route"));
    };
    let table = if to.is_ipv4() { RTM_F_LOOKUP_TABLE } else { 0 };
    match one(socket, question, to, table) {
        Ok(way) => {
            let route = one(socket, question, to, table | RTM_F_FIB_MATCH).ok();
            Ok(RouteAnswer::Way { way, route })
        }
        Err(Fault::Refused { errno, .. }) => Ok(RouteAnswer::Refused(errno)),
        Err(fault) => Err(fault.about(format!("ask for a route to {to}"))),
    }
}

fn one(socket: &mut Socket, question: &RouteQuestion, to: IpAddr, flags: u32) -> Result<FibRoute, Fault> {
    socket.get(message(question, to, flags), answer)
}

fn message(question: &RouteQuestion, to: IpAddr, flags: u32) -> Raw {
    let family = Family::of(to);
    let mut header = [0; HEADER];
    header[0] = if family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 } as u8;
    header[1] = family.bits();
    header[2] = question.from.map_or(0, |_| family.bits());
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    let mut raw = Raw::new(libc::RTM_GETROUTE, &header).with(libc::RTA_DST, &bytes(to));
    if let Some(from) = question.from {
        raw = raw.with(libc::RTA_SRC, &bytes(from));
    }
    for (kind, link) in [(libc::RTA_IIF, question.iif), (libc::RTA_OIF, question.oif)] {
        if let Some(link) = link {
            raw = raw.with(kind, &link.to_ne_bytes());
        }
    }
    if question.mark != 0 {
        raw = raw.with(libc::RTA_MARK, &question.mark.to_ne_bytes());
    }
    if let Some(protocol) = question.protocol {
        raw = raw.with(RTA_IP_PROTO, &[protocol]);
    }
    for (kind, port) in [(RTA_SPORT, question.source_port), (RTA_DPORT, question.port)] {
        if let Some(port) = port {
            raw = raw.with(kind, &port.to_be_bytes());
        }
    }
    raw
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The answer is marked as a copy for one destination, which for once is what is wanted.
fn answer(payload: &[u8]) -> Option<FibRoute> {
    let mut plain = payload.to_vec();
    let flags = attrs::u32(payload.get(8..)?)? & !libc::RTM_F_CLONED;
    plain.get_mut(8..12)?.copy_from_slice(&flags.to_ne_bytes());
    let mut route = routes::route(&plain)?;
    // An answer about an incoming packet repeats its source; that is no preferred one.
    if Attrs::after(payload, HEADER).get(libc::RTA_IIF).is_some() {
        route.source = None;
    }
    Some(route)
}
