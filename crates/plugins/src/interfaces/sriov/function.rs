//! A virtual function of an SR-IOV device: whose it is, and what has it (spec/sriov.md 2).

use std::path::Path;

use polynic_net::IfName;

use crate::interfaces::pci;

/// A virtual function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Function {
    /// Its address on the bus.
    pub(super) address: String,
    /// The link of its physical function.
    pub(super) pf: IfName,
    /// Its number there.
    pub(super) index: u32,
    /// Its link on the node; absent while a pod or a driver in user space has it.
    pub(super) link: Option<IfName>,
    /// A driver in user space has it.
    pub(super) user_space: bool,
}

impl Function {
    /// Looks the function up by its address, which must be one (see [`is_address`]).
    pub(super) fn find(sysfs: &Path, address: &str) -> Result<Self, String> {
        let device = pci::device(sysfs, address);
        let pf = physical(sysfs, &device.join("physfn/net"))?;
        let index = number(sysfs, &pf, address)?;
        let link = pci::link_in(&device.join("net")).ok().and_then(|name| IfName::new(name).ok());
        let user_space = link.is_none() && pci::is_user_space(sysfs, address);
        Ok(Self { address: address.to_owned(), pf, index, link, user_space })
    }

    /// Refuses a function that nobody could use.
    pub(super) fn require_use(&self) -> Result<(), String> {
        match self.link.is_some() || self.user_space {
            true => Ok(()),
            false => Err(format!("the VF {} does not have a interface name or a dpdk driver", self.address)),
        }
    }
}

/// The link of a physical function. With the representors of a switch among its links, it is the uplink; else the first.
fn physical(sysfs: &Path, directory: &Path) -> Result<IfName, String> {
    let links = pci::links_in(directory)?;
    let uplink = links.iter().find(|link| is_uplink(sysfs, link)).or_else(|| links.first());
    let name = uplink.ok_or_else(|| format!("{} is empty", directory.display()))?;
    IfName::new(name).map_err(|e| e.to_string())
}

/// Ports of the device itself are called `p0`, `p1`; those of functions `pf0vf1`.
fn is_uplink(sysfs: &Path, link: &str) -> bool {
    let port = std::fs::read_to_string(sysfs.join("class/net").join(link).join("phys_port_name"));
    let port = port.unwrap_or_default();
    port.trim().strip_prefix('p').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The `i` with `virtfn<i>` pointing to the function.
fn number(sysfs: &Path, pf: &IfName, address: &str) -> Result<u32, String> {
    let device = sysfs.join("class/net").join(pf.as_str()).join("device");
    let entries = pci::links_in(&device)?;
    let numbers = entries.iter().filter_map(|entry| entry.strip_prefix("virtfn")?.parse::<u32>().ok());
    let ours = |n: &u32| pci::target(&device.join(format!("virtfn{n}"))).as_deref() == Some(address);
    numbers.into_iter().find(ours).ok_or_else(|| format!("VF {address} is no function of {pf}"))
}

/// Whether a text is a PCI address with its domain, as `0000:3b:02.4`: it becomes part of paths.
pub(super) fn is_address(text: &str) -> bool {
    let hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let mut parts = text.split(':');
    let (domain, bus, rest) = (parts.next(), parts.next(), parts.next());
    let slot = rest.and_then(|rest| rest.split_once('.'));
    parts.next().is_none()
        && domain.is_some_and(|domain| hex(domain, 4..=8))
        && bus.is_some_and(|bus| hex(bus, 2..=2))
        && slot.is_some_and(|(device, function)| hex(device, 2..=2) && hex(function, 1..=1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::sriov::tests::Bus;

    fn name(text: &str) -> IfName {
        IfName::new(text).unwrap()
    }

    #[test]
    fn a_function_is_found_by_its_address() {
        let bus = Bus::new();
        let found = Function::find(bus.path(), "0000:3b:02.4").unwrap();
        let address = "0000:3b:02.4".to_owned();
        let expected =
            Function { address, pf: name("pf0"), index: 4, link: Some(name("pf0v4")), user_space: false };
        assert_eq!(found, expected);
        bus.bind("0000:3b:02.4", "vfio-pci");
        let bound = Function::find(bus.path(), "0000:3b:02.4").unwrap();
        assert_eq!(bound, Function { link: None, user_space: true, ..expected });
    }

    #[test]
    fn what_is_missing_is_named() {
        let bus = Bus::new();
        let error = Function::find(bus.path(), "0000:3b:0f.0").unwrap_err();
        assert!(error.contains("0000:3b:0f.0/physfn/net"), "{error}");
        bus.bind("0000:3b:02.4", "ixgbevf");
        let error = Function::find(bus.path(), "0000:3b:02.4").unwrap().require_use().unwrap_err();
        assert_eq!(error, "the VF 0000:3b:02.4 does not have a interface name or a dpdk driver");
    }

    #[test]
    fn of_a_switch_the_uplink_is_meant() {
        let bus = Bus::new();
        std::fs::create_dir_all(bus.path().join("bus/pci/devices/0000:3b:00.0/net/a_representor")).unwrap();
        bus.write("class/net/a_representor/phys_port_name", "pf0vf1\n");
        bus.write("class/net/pf0/phys_port_name", "p0\n");
        assert_eq!(Function::find(bus.path(), "0000:3b:02.4").unwrap().pf, name("pf0"));
    }

    #[test]
    fn only_whole_addresses_are_addresses() {
        for good in ["0000:3b:02.4", "10000:e1:00.f", "ABCD:ef:1F.0"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "3b:02.4", "0000:3b:02", "0000:3b:02.44", "../3b:02.4", "0000:3b:02.4:1", "0000:3b:0/.4"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
