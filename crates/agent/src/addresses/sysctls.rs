//! Settings of the node that many pods need (spec/spiderpool.md 13.4), on request.

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{Change, Needs, Place, Sysctl, SysctlKey, SysctlKeyError};

/// Paths below /proc/sys and what they get. More neighbours than a kernel expects by itself, news of addresses, forwarding, and answers that may
/// come by another link than the question.
const IPV4: [(&str, &str); 4] = [
    ("net/ipv4/neigh/default/gc_thresh3", "28160"),
    ("net/ipv4/conf/all/arp_notify", "1"),
    ("net/ipv4/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
];
const IPV6: [(&str, &str); 2] =
    [("net/ipv6/neigh/default/gc_thresh3", "28160"), ("net/ipv6/conf/all/forwarding", "1")];

/// What is to be set for the families that are enabled.
fn wanted(ipv4: bool, ipv6: bool) -> Result<Vec<(SysctlKey, &'static str)>, SysctlKeyError> {
    let families = [(ipv4, IPV4.as_slice()), (ipv6, IPV6.as_slice())];
    let enabled = families.into_iter().filter(|(enabled, _)| *enabled).flat_map(|(_, settings)| settings);
    enabled.map(|(path, value)| Ok((SysctlKey::new(*path)?, *value))).collect()
}

/// Sets what is to be set. A setting that this kernel does not have is none that is missed; answers what could not be set.
pub(crate) fn tune(kernel: &mut dyn Kernel, ipv4: bool, ipv6: bool) -> Result<Vec<KernelError>, KernelError> {
    // The paths are constants of the right form; a test reads them all.
    let settings = wanted(ipv4, ipv6).unwrap_or_default();
    let mut needs = Needs::default();
    settings.iter().for_each(|(key, _)| needs.host.sysctl(key.clone()));
    let facts = kernel.observe(&needs)?;
    let mut failed = Vec::new();
    for (key, value) in settings {
        let Some(before) = facts.host.sysctl(&key).map(ToOwned::to_owned) else { continue };
        let before = Sysctl { key, value: before };
        failed.extend(kernel.apply(&Change::sysctl(Place::Host, before, value)).err());
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_kernel::{Door, FakeDoor};

    fn value(door: &FakeDoor, path: &str) -> Option<String> {
        let key = SysctlKey::new(path).unwrap();
        let mut needs = Needs::default();
        needs.host.sysctl(key.clone());
        door.open(None).unwrap().observe(&needs).unwrap().host.sysctl(&key).map(ToOwned::to_owned)
    }

    #[test]
    fn every_path_is_one() {
        assert_eq!(wanted(true, true).unwrap().len(), 6);
        assert_eq!(wanted(true, false).unwrap().len(), 4);
    }

    #[test]
    fn what_the_kernel_has_is_set_and_what_it_lacks_is_not_missed() {
        let door = FakeDoor::new();
        let mut kernel = door.open(None).unwrap();
        assert_eq!(tune(kernel.as_mut(), true, false).unwrap(), []);
        assert_eq!(value(&door, "net/ipv4/conf/all/forwarding").as_deref(), Some("1"));
        assert_ne!(value(&door, "net/ipv6/conf/all/forwarding").as_deref(), Some("1"));
    }
}
