//! What a namespace knows of single addresses, asked without listing what it knows of all others.
//!
//! A list of routes can be filtered by table, not by destination; a look-up goes by the rules, not by table. Where the rules
//! say that a look-up has gone through the table, its answer tells whether the table has a route to exactly the address. Only
//! where it has one, or where the answer says nothing, the table is listed.

mod verdict;

use std::net::IpAddr;

use polynic_net::{Destination, Family, IpNet, Neighbour, NsFacts, Route};

use super::facts::{self, RawRoute};
use super::route::NO_WAY;
use super::space::Space;
use crate::Errno;
use crate::netlink::Fault;
use crate::netlink::raw::Raw;
pub(super) use verdict::Seen;
use verdict::{Answer, Table, Verdict, verdict};

/// Answer with the entry that was found, not with what it means for a packet (include/uapi/linux/rtnetlink.h).
const FIB_MATCH: u32 = 0x2000;
/// And with its table: IPv6 does so anyway, and does not know the flag here.
const LOOKUP_TABLE: u32 = 0x1000;

impl Space {
    /// Adds routes and neighbours to the facts; `rules` are those of the address' family at least.
    pub(super) fn destination(
        &mut self,
        asked: &Destination,
        rules: &[Seen],
        facts: &mut NsFacts,
    ) -> Result<(), Fault> {
        let (answer, way) = self.entry_for(asked.ip)?;
        let net = IpNet::from(asked.ip);
        let routes = match verdict(rules, Table { number: asked.table, net }, answer) {
            Verdict::Absent => Vec::new(),
            Verdict::Unsaid => self.routes_in(asked.table, net)?,
        };
        let mut links: Vec<u32> = asked.links.clone();
        links.extend(routes.iter().flat_map(RawRoute::indexes).chain(way));
        links.sort_unstable();
        links.dedup();
        for link in links {
            facts.neighbours.extend(self.neighbour_at(link, asked.ip)?);
        }
        facts.routes.extend(self.named(routes)?);
        Ok(())
    }

    /// The entry by which the kernel would send to an address, and its link.
    fn entry_for(&mut self, ip: IpAddr) -> Result<(Answer, Option<u32>), Fault> {
        let family = Family::of(ip);
        let flags = if family == Family::V4 { FIB_MATCH | LOOKUP_TABLE } else { FIB_MATCH };
        let ask = Raw::new(libc::RTM_GETROUTE, &header(family, family.bits(), flags));
        let ask = ask.with(libc::RTA_DST, &octets(ip));
        match self.route.get(ask, |payload| Some(facts::routes(payload))) {
            Ok(Some(hops)) => Ok(answer(&hops)),
            // A kernel that does not know the question answers another one.
            Ok(None) => Ok((Answer::Unclear, None)),
            Err(fault) if fault.is(Errno::ENETUNREACH) => Ok((Answer::Nothing, None)),
            Err(fault) if NO_WAY.iter().any(|errno| fault.is(*errno)) => Ok((Answer::Unclear, None)),
            Err(fault) => Err(fault),
        }
    }

    /// The routes of a table to exactly a network.
    fn routes_in(&mut self, table: u32, net: IpNet) -> Result<Vec<RawRoute>, Fault> {
        let family = Family::of(net.addr());
        let ask = Raw::new(libc::RTM_GETROUTE, &header(family, 0, 0));
        let ask = ask.with(libc::RTA_TABLE, &table.to_ne_bytes());
        match self.route.dump(ask, facts::routes) {
            Ok(found) => {
                let found = found.into_iter().flatten();
                Ok(found.filter(|raw| raw.route.table == table && raw.route.dst == net).collect())
            }
            // There is no such table yet.
            Err(fault) if fault.is(Errno::ENOENT) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    /// The routes of all tables but `local` through a link; none if there is no such link.
    pub(super) fn routes_on(&mut self, link: &polynic_net::IfName) -> Result<Vec<Route>, Fault> {
        let found = self.on_link(link, |socket, index| {
            let mut found = Vec::new();
            for family in [Family::V4, Family::V6] {
                let ask = Raw::new(libc::RTM_GETROUTE, &header(family, 0, 0));
                let ask = ask.with(libc::RTA_OIF, &index.to_ne_bytes());
                // A kernel without IPv6 answers with what it has.
                let of_family = |raw: &RawRoute| Family::of(raw.route.dst.addr()) == family;
                found.extend(socket.dump(ask, facts::routes)?.into_iter().flatten().filter(of_family));
            }
            let of_link = |raw: &RawRoute| raw.indexes().any(|of| of == index);
            found.retain(|raw| of_link(raw) && raw.route.table != polynic_net::TABLE_LOCAL);
            Ok((index, found))
        });
        match found {
            Ok((own, found)) => {
                let others = found.iter().flat_map(RawRoute::indexes).filter(|index| *index != own);
                let names = self.names(others)?;
                let name = |index| if index == own { Some(link.clone()) } else { names.get(&index).cloned() };
                Ok(found.into_iter().filter_map(|raw| raw.named(name)).collect())
            }
            Err(fault) if fault.is(Errno::ENODEV) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    /// The permanent neighbour with an address on a link; none if the link is gone.
    pub(super) fn neighbour_at(&mut self, link: u32, ip: IpAddr) -> Result<Option<Neighbour>, Fault> {
        let mut header = [0; facts::NEIGHBOUR_HEADER];
        header[0] = family_number(Family::of(ip));
        let raw = match self.neighbour_asked(header, link, ip) {
            // Kernels before 5.0 have lists alone.
            Err(fault) if fault.is(Errno::EOPNOTSUPP) => {
                let ask = Raw::new(libc::RTM_GETNEIGH, &header).with(NDA_IFINDEX, &link.to_ne_bytes());
                let all = self.route.dump(ask, facts::neighbour)?;
                all.into_iter().find(|raw| raw.index == link && raw.ip == ip)
            }
            asked => asked?,
        };
        let Some(raw) = raw else { return Ok(None) };
        let names = self.names(std::iter::once(raw.index))?;
        Ok(names.get(&raw.index).map(|link| Neighbour { link: link.clone(), ip: raw.ip, mac: raw.mac }))
    }

    fn neighbour_asked(
        &mut self,
        mut header: [u8; facts::NEIGHBOUR_HEADER],
        link: u32,
        ip: IpAddr,
    ) -> Result<Option<facts::RawNeighbour>, Fault> {
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        let ask = Raw::new(libc::RTM_GETNEIGH, &header).with(libc::NDA_DST, &octets(ip));
        match self.route.get(ask, |payload| Some(facts::neighbour(payload))) {
            Err(fault) if [Errno::ENOENT, Errno::ENODEV].iter().any(|errno| fault.is(*errno)) => Ok(None),
            answer => answer,
        }
    }
}

/// Only lists of neighbours of one link (include/uapi/linux/neighbour.h).
const NDA_IFINDEX: u16 = 8;

fn answer(hops: &[RawRoute]) -> (Answer, Option<u32>) {
    let Some(first) = hops.first() else { return (Answer::Unclear, None) };
    (Answer::Entry { table: first.route.table, net: first.route.dst }, first.index)
}

/// A `struct rtmsg`.
fn header(family: Family, length: u8, flags: u32) -> [u8; 12] {
    let mut header = [0; 12];
    (header[0], header[1]) = (family_number(family), length);
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// Numbers of families are below 256.
fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
