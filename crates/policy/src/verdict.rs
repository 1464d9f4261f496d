//! What a table does with a packet: it reads the rules as the kernel does and knows nothing of policies. Tests compare it with the policies
//! themselves; connections that are there when a table changes are judged by it.

use std::net::IpAddr;

use polynic_net::{Family, FwExpr, FwSet, FwVerdict};

use crate::PodTable;
use crate::names::Direction;

/// A packet at the pod.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which way it goes.
    pub direction: Direction,
    /// The link it comes in or goes out by.
    pub interface: String,
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// Its protocol by number.
    pub protocol: u8,
    /// Destination port, or type of an ICMP message.
    pub port: u16,
    /// It belongs to a connection that was answered.
    pub known: bool,
}

/// Whether a table of ours lets it pass. A rule that is none of ours matches nothing.
pub fn passes(table: &PodTable, packet: &Packet) -> bool {
    run(table, packet.direction.base(), packet).unwrap_or(true)
}

/// The verdict of a chain; none if it comes to its end.
fn run(table: &PodTable, chain: &str, packet: &Packet) -> Option<bool> {
    for body in &table.chain(chain)?.rules {
        let (verdict, matches) = body.exprs.split_last()?;
        if !matches.iter().all(|expr| holds(table, expr, packet)) {
            continue;
        }
        let decided = match verdict {
            FwExpr::Verdict(FwVerdict::Accept) => Some(true),
            FwExpr::Verdict(FwVerdict::Drop) => Some(false),
            FwExpr::Verdict(FwVerdict::Jump(to)) => run(table, to, packet),
            _ => None,
        };
        if decided.is_some() {
            return decided;
        }
    }
    None
}

fn holds(table: &PodTable, expr: &FwExpr, packet: &Packet) -> bool {
    let family = Family::of(packet.source);
    // As the kernel has it: a star at the end stands for any rest.
    let is_named = |name: &str| match name.strip_suffix('*') {
        Some(start) => packet.interface.starts_with(start),
        None => packet.interface == name,
    };
    let on = |direction, name: &str| packet.direction == direction && is_named(name);
    let named =
        |set: &str| matches!(table.set(set), Some(FwSet::Links(names)) if names.contains(&packet.interface));
    let holds = |set: &str, ip| table.set(set).is_some_and(|set| set.contains(ip));
    let has_ports = [6, 17, 132].contains(&packet.protocol);
    match expr {
        FwExpr::Iif(name) => on(Direction::Ingress, name),
        FwExpr::Oif(name) => on(Direction::Egress, name),
        FwExpr::IifIn(set) => packet.direction == Direction::Ingress && named(set),
        FwExpr::OifIn(set) => packet.direction == Direction::Egress && named(set),
        FwExpr::SrcIn { set, family: of } => *of == family && holds(set, packet.source),
        FwExpr::DstIn { set, family: of } => *of == family && holds(set, packet.destination),
        FwExpr::Src { net, not } => Family::of(net.addr()) == family && net.contains(&packet.source) != *not,
        FwExpr::Dst { net, not } => {
            Family::of(net.addr()) == family && net.contains(&packet.destination) != *not
        }
        FwExpr::NewConnection => !packet.known,
        FwExpr::KnownConnection => packet.known,
        FwExpr::Protocol(protocol) => packet.protocol == *protocol,
        FwExpr::DstPorts { first, last } => has_ports && (*first..=*last).contains(&packet.port),
        FwExpr::IcmpTypes { first, last } => {
            packet.protocol == 1 && (u16::from(*first)..=u16::from(*last)).contains(&packet.port)
        }
        FwExpr::Icmpv6Types { first, last } => {
            family == Family::V6
                && packet.protocol == 58
                && (u16::from(*first)..=u16::from(*last)).contains(&packet.port)
        }
        _ => false,
    }
}
