//! Giving an interface the hardware address that follows from its prefix, in plan and result.

use polynic_cni::Success;
use polynic_net::{Announcement, Attr, Change, IpNet, LinkFact, Mac, Place};

use super::draft::Draft;
use super::mac_prefix::MacPrefix;
use crate::Call;

/// Plans the new address, if it is a new one, and answers it.
pub(super) fn rewrite(
    draft: &mut Draft,
    nic: &LinkFact,
    prefix: Option<MacPrefix>,
    addresses: &[IpNet],
) -> Option<Mac> {
    let (prefix, first) = prefix.zip(addresses.first())?;
    let (new, old) = (prefix.with(first.addr()), nic.mac?);
    if new != old {
        draft.plan.own(Change::attr(Place::Pod, &nic.name, Attr::Mac(old), Attr::Mac(new)));
    }
    Some(new)
}

/// Plans to tell the network (spec/coordinator.md 4.9).
pub(super) fn announce(draft: &mut Draft, nic: &LinkFact, mac: Mac, addresses: &[IpNet]) {
    for net in addresses {
        let news = Announcement { link: nic.name.clone(), ip: net.addr(), mac };
        draft.plan.own(Change::announce(Place::Pod, news));
    }
}

/// The result with the interface's new address: caches and network-status are to show what the wire shows.
pub(super) fn in_result(call: &Call<'_>, prev: &Success, mac: Option<Mac>) -> Success {
    let mut result = prev.clone();
    let Some(mac) = mac else { return result };
    let is_ours = |i: &&mut polynic_cni::Interface| i.name == call.ifname.as_str() && !i.sandbox.is_empty();
    for interface in result.interfaces.iter_mut().filter(is_ours) {
        interface.mac = mac.to_string();
    }
    result
}
