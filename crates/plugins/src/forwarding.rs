//! Letting the node forward packets, for the families that an attachment uses.

use polynic_cni::Success;
use polynic_net::{Change, Family, Needs, NsFacts, Place, Plan, Sysctl, SysctlKey};

use crate::addressing::has_family;

fn keys(result: &Success) -> Vec<SysctlKey> {
    let mut keys = Vec::new();
    if has_family(result, Family::V4) {
        keys.push(SysctlKey::ip_forward());
    }
    if has_family(result, Family::V6) {
        keys.push(SysctlKey::ipv6_forwarding());
    }
    keys
}

/// What [`enable`] must know.
pub(crate) fn needs(needs: &mut Needs, result: &Success) {
    keys(result).into_iter().for_each(|key| needs.host.sysctl(key));
}

/// Plans the switches. They are shared: nobody switches them off again.
pub(crate) fn enable(plan: &mut Plan, host: &NsFacts, result: &Success) {
    for key in keys(result) {
        if let Some(old) = host.sysctl(&key) {
            let old = Sysctl { key, value: old.to_owned() };
            plan.ensure(Change::sysctl(Place::Host, old, "1"));
        }
    }
}

/// The families, as sysctl paths name them, for which [`enable`] has something to do.
pub(crate) fn being_enabled(host: &NsFacts, result: &Success) -> Vec<&'static str> {
    let off = keys(result).into_iter().filter(|key| host.sysctl(key).is_some_and(|v| v != "1"));
    off.map(|key| if key == SysctlKey::ip_forward() { "ipv4" } else { "ipv6" }).collect()
}
