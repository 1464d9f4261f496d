//! Main plugins: each makes an interface. One file each, all by the template of [`crate::Attacher`].

pub mod bridge;
pub mod calico_like;
pub mod dummy;
pub mod host_device;
pub mod ipvlan;
pub mod loopback;
pub mod macvlan;
mod pci;
pub mod ptp;
pub mod sriov;
mod station;
pub mod tap;
pub mod vlan;

use polynic_cni::Error;
use polynic_net::{Facts, IfName, Needs, Place};

use crate::{Attacher, Call};

/// Every built-in main plugin.
pub const ALL: [&dyn Attacher; 11] = [
    &bridge::Bridge,
    &calico_like::CalicoLike,
    &dummy::Dummy,
    &host_device::HostDevice { sysfs: "/sys" },
    &ipvlan::Ipvlan,
    &loopback::Loopback,
    &macvlan::Macvlan,
    &ptp::Ptp,
    &sriov::Sriov { sysfs: "/sys", directory: "/var/lib/cni/sriov" },
    &tap::Tap,
    &vlan::Vlan,
];

/// The link that the first default route leaves by, IPv4 before IPv6 (spec/plugins.md 1.2).
pub(crate) fn default_route_link(call: &Call<'_>, facts: &Facts, place: Place) -> Result<IfName, Error> {
    let routes = facts.at(place).map(|ns| ns.routes.as_slice()).unwrap_or_default();
    let mut defaults: Vec<_> = routes.iter().filter(|r| r.is_default() && r.link.is_some()).collect();
    defaults.sort_by_key(|r| (r.family(), r.table != polynic_net::TABLE_MAIN));
    let link = defaults.first().and_then(|r| r.link.clone());
    link.ok_or_else(|| call.error("no default route interface found"))
}

/// Asks for what [`default_route_link`] looks at, and for every link, because which one is not known yet.
pub(crate) fn default_route_needs(needs: &mut Needs, place: Place) {
    let at = needs.at_mut(place);
    at.routes = true;
    at.links = polynic_net::LinkNeed::All;
}

/// Refuses a pod in which the interface name is taken.
pub(crate) fn refuse_taken_name(call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
    match facts.link(Place::Pod, &call.ifname) {
        Some(_) => Err(call.error(format!("interface name {} already exists in the pod", call.ifname))),
        None => Ok(()),
    }
}
