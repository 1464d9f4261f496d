//! Reverse path filtering of all links, in one list: a file for each of them under /proc/sys costs a node with hundreds of pods more than all else.

use std::collections::BTreeMap;

use polynic_net::{IfName, RpFilterNeed, SysctlKey};

use super::space::Space;
use crate::netlink::Fault;
use crate::netlink::attrs::{self, Attrs};
use crate::netlink::raw::Raw;

/// Type of the request (include/uapi/linux/rtnetlink.h).
const RTM_GETNETCONF: u16 = 82;
/// Attributes, and indexes that are no link's (include/uapi/linux/netconf.h).
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_RP_FILTER: u16 = 3;
const OF_ALL: i32 = -1;
const OF_DEFAULT: i32 = -2;
/// Fixed part of a message: the family, padded.
const HEADER: usize = 4;

impl Space {
    /// The settings that are asked for. Links that are gone meanwhile are missing.
    pub(super) fn rp_filters(
        &mut self,
        need: RpFilterNeed,
    ) -> Result<BTreeMap<SysctlKey, Option<String>>, Fault> {
        let ask = Raw::new(RTM_GETNETCONF, &[libc::AF_INET as u8, 0, 0, 0]);
        let mut found = self.route.dump(ask, rp_filter)?;
        found.retain(|(index, has)| match need {
            _ if *index < 0 => true,
            RpFilterNeed::General => false,
            RpFilterNeed::Unlike(value) => i64::from(*has) != value,
        });
        let names = self.names(found.iter().filter_map(|(index, _)| u32::try_from(*index).ok()))?;
        let name = |index: i32| match index {
            OF_ALL => IfName::new("all").ok(),
            OF_DEFAULT => IfName::new("default").ok(),
            index => names.get(&u32::try_from(index).ok()?).cloned(),
        };
        let setting =
            |(index, has): (i32, i32)| Some((SysctlKey::rp_filter(&name(index)?), Some(has.to_string())));
        Ok(found.into_iter().filter_map(setting).collect())
    }
}

/// Whose setting it is, and the setting.
fn rp_filter(payload: &[u8]) -> Option<(i32, i32)> {
    let list = Attrs::after(payload, HEADER);
    let number = |kind| list.get(kind).and_then(attrs::i32);
    Some((number(NETCONFA_IFINDEX)?, number(NETCONFA_RP_FILTER)?))
}
