//! Routes of all tables with all their next hops.

use std::net::IpAddr;

use polynic_net::stack::{FibKind, FibRoute, Hop};
use polynic_net::{Family, IpNet};

use super::Surveyor;
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;

/// Fixed part of a route's message (`struct rtmsg`).
pub(super) const HEADER: usize = 12;
/// Attributes of include/uapi/linux/rtnetlink.h that libc does not name.
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
/// States of a next hop.
const DEAD: u32 = 1;
const ONLINK: u32 = 4;
const LINKDOWN: u32 = 16;

impl Surveyor {
    pub(super) fn routes(&mut self) -> Result<Vec<FibRoute>, Fault> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; HEADER];
            header[0] = family as u8;
            found.extend(self.route.dump(Raw::new(libc::RTM_GETROUTE, &header), route)?);
        }
        Ok(found)
    }
}

/// A route; none for copies that the kernel keeps for single destinations.
pub(super) fn route(payload: &[u8]) -> Option<FibRoute> {
    let &[family, length, src_length, tos, table, protocol, scope, kind] = payload.first_chunk()?;
    let flags = attrs::u32(payload.get(8..)?)?;
    if flags & libc::RTM_F_CLONED != 0 {
        return None;
    }
    let list = Attrs::after(payload, HEADER);
    let family = if i32::from(family) == libc::AF_INET { Family::V4 } else { Family::V6 };
    let zero = if family == Family::V4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let net = |kind, length| IpNet::new(list.get(kind).and_then(attrs::ip).unwrap_or(zero), length).ok();
    let number = |kind| list.get(kind).and_then(attrs::u32);
    Some(FibRoute {
        family,
        table: number(libc::RTA_TABLE).unwrap_or(u32::from(table)),
        dst: net(libc::RTA_DST, length)?,
        from: (src_length > 0).then(|| net(libc::RTA_SRC, src_length)).flatten(),
        tos,
        metric: number(libc::RTA_PRIORITY).unwrap_or_default(),
        kind: kind_of(kind),
        scope,
        protocol,
        source: list.get(libc::RTA_PREFSRC).and_then(attrs::ip),
        hops: match list.get(libc::RTA_MULTIPATH) {
            Some(bytes) => hops(bytes),
            None => vec![hop(number(libc::RTA_OIF), flags, list)],
        },
        preference: list.get(RTA_PREF).and_then(|bytes| bytes.first().copied()).unwrap_or_default(),
    })
}

fn hop(link: Option<u32>, flags: u32, list: Attrs<'_>) -> Hop {
    let same = list.get(libc::RTA_GATEWAY).and_then(attrs::ip);
    let via = same.or_else(|| attrs::ip(list.get(RTA_VIA)?.get(2..)?));
    let has = |flag| flags & flag != 0;
    Hop { link, via, dead: has(DEAD), linkdown: has(LINKDOWN), onlink: has(ONLINK) }
}

/// Each `struct rtnexthop` (length, flags, weight, index) is followed by attributes of its own.
fn hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut found = Vec::new();
    while let Some(length) = attrs::u16(bytes).map(usize::from)
        && let Some(one) = bytes.get(..length)
        && let Some(link) = one.get(4..).and_then(attrs::u32)
    {
        found.push(hop(Some(link), u32::from(one[2]), Attrs::after(one, 8)));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn kind_of(number: u8) -> FibKind {
    match number {
        libc::RTN_UNICAST => FibKind::Unicast,
        libc::RTN_LOCAL => FibKind::Local,
        libc::RTN_BROADCAST => FibKind::Broadcast,
        libc::RTN_ANYCAST => FibKind::Anycast,
        libc::RTN_MULTICAST => FibKind::Multicast,
        libc::RTN_BLACKHOLE => FibKind::Blackhole,
        libc::RTN_UNREACHABLE => FibKind::Unreachable,
        libc::RTN_PROHIBIT => FibKind::Prohibit,
        libc::RTN_THROW => FibKind::Throw,
        other => FibKind::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (route(&bytes), hops(&bytes));
        }
    }
}
