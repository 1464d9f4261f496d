//! Chained plugins that tune, shape and guard what others made (spec/plugins.md 3). One file each, all by the template of
//! [`crate::ChainedPlugin`]; and `flannel`, which has another plugin do the work.

pub mod bandwidth;
pub mod firewall;
pub mod flannel;
pub mod portmap;
pub mod sbr;
pub mod tuning;
pub mod vrf;

#[cfg(test)]
mod tests;

use polynic_cni::{Ip, Success, Version};

use crate::{Call, ChainedPlugin};

/// Every built-in chained plugin of this family.
pub const ALL: [&dyn ChainedPlugin; 6] =
    [&bandwidth::Bandwidth, &firewall::Firewall, &portmap::Portmap, &sbr::Sbr, &tuning::Tuning, &vrf::Vrf];

/// The protocol versions from this one on.
pub(crate) fn since(first: Version) -> &'static [Version] {
    static ALL: [Version; 7] = Version::ALL;
    let at = ALL.iter().position(|version| *version == first).unwrap_or_default();
    &ALL[at..]
}

/// The addresses of prevResult that are this interface's: those without interface, or that name it.
pub(crate) fn own_addresses<'p>(call: &Call<'_>, prev: &'p Success) -> impl Iterator<Item = &'p Ip> {
    let ifname = call.ifname.to_string();
    prev.ips.iter().filter(move |ip| {
        let named = ip.interface.and_then(|index| prev.interfaces.get(index));
        named.is_none_or(|interface| interface.name == ifname)
    })
}
