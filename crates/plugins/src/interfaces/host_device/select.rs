//! Which device is meant: by name, MAC, path in sysfs, PCI address, or the device id that the runtime allocated.

use std::fs;
use std::path::{Component, Path, PathBuf};

use polynic_cni::Error;
use polynic_net::{LinkFact, Mac};
use serde::Deserialize;

use crate::Call;
use crate::interfaces::pci::{self, link_in};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    device: String,
    hwaddr: String,
    kernelpath: String,
    #[serde(rename = "pciBusID")]
    pci_bus_id: String,
}

/// How the device is named; the first key that is set counts, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Selector {
    /// The link's name.
    Name(String),
    /// The link's hardware address.
    Hardware(Mac),
    /// A directory below `/sys/devices/`.
    KernelPath(PathBuf),
    /// An address on the PCI bus.
    Pci(String),
    /// A device that the runtime allocated: a PCI address or an auxiliary device.
    Allocated(String),
}

/// What a selector leads to.
pub(super) enum Found<'f> {
    /// A link of the node.
    Link(&'f LinkFact),
    /// A device without link, for a driver in user space.
    UserSpace,
}

impl Selector {
    /// From the configuration; what the runtime allocated overrides everything.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let config: Config = call.conf.read()?;
        let allocated = call.runtime_config().string("deviceID");
        let allocated = allocated.map_err(|e| call.error(format!("failed to load netconf: {e}")))?;
        if !allocated.is_empty() {
            return Ok(Self::Allocated(plain(call, allocated)?));
        }
        if !config.device.is_empty() {
            return Ok(Self::Name(config.device));
        }
        if !config.hwaddr.is_empty() {
            let mac = config.hwaddr.parse();
            return mac.map(Self::Hardware).map_err(|e: polynic_net::MacError| call.error(e));
        }
        if !config.kernelpath.is_empty() {
            return kernel_path(call, &config.kernelpath).map(Self::KernelPath);
        }
        if !config.pci_bus_id.is_empty() {
            return Ok(Self::Pci(plain(call, &config.pci_bus_id)?));
        }
        Err(call.error(r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#))
    }

    /// The device, among the node's links.
    pub(super) fn find<'f>(&self, sysfs: &Path, links: &'f [LinkFact]) -> Result<Found<'f>, String> {
        if self.is_user_space(sysfs) {
            return Ok(Found::UserSpace);
        }
        let by_name = |name: &str| {
            let found = links.iter().find(|link| link.name.as_str() == name);
            found.map(Found::Link).ok_or_else(|| format!("Link not found: {name}"))
        };
        match self {
            Self::Name(name) => {
                by_name(name).or_else(|e| by_other_name(name, links).map(Found::Link).ok_or(e))
            }
            Self::Hardware(mac) => {
                let found = links.iter().find(|link| link.mac == Some(*mac));
                found.map(Found::Link).ok_or_else(|| format!("no link has the address {mac}"))
            }
            Self::KernelPath(path) => by_name(&link_in(&sysfs.join(path).join("net"))?),
            Self::Pci(address) => by_name(&link_of_pci(sysfs, address)?),
            Self::Allocated(id) => by_name(&link_of_allocated(sysfs, id)?),
        }
    }

    /// Whether a driver in user space has the device.
    pub(super) fn is_user_space(&self, sysfs: &Path) -> bool {
        let (Self::Pci(address) | Self::Allocated(address)) = self else { return false };
        pci::is_user_space(sysfs, address)
    }
}

/// By an alternative name; or by the alias, which says what a link was called that came back by itself when its pod's namespace went: under
/// the pod's name for it, and down.
fn by_other_name<'f>(name: &str, links: &'f [LinkFact]) -> Option<&'f LinkFact> {
    let called = links.iter().find(|link| link.other_names.iter().any(|other| other == name));
    called.or_else(|| links.iter().find(|link| !link.up && link.alias.as_deref() == Some(name)))
}

/// An id becomes part of a path: it must be one component of it.
fn plain(call: &Call<'_>, id: &str) -> Result<String, Error> {
    let mut components = Path::new(id).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(_)), None) => Ok(id.to_owned()),
        _ => Err(call.error(format!("invalid device id {id:?}"))),
    }
}

/// Below `/sys/devices/`, and nowhere else.
fn kernel_path(call: &Call<'_>, path: &str) -> Result<PathBuf, Error> {
    let below = path.strip_prefix("/sys/devices/").map(Path::new);
    let honest = below.filter(|below| below.components().all(|c| matches!(c, Component::Normal(_))));
    match honest {
        Some(below) => Ok(Path::new("devices").join(below)),
        None => {
            Err(call
                .error(format!("kernel device path {path:?} must be absolute and begin with /sys/devices/")))
        }
    }
}

fn link_of_pci(sysfs: &Path, address: &str) -> Result<String, String> {
    let device = pci::device(sysfs, address);
    if let Ok(name) = link_in(&device.join("net")) {
        return Ok(name);
    }
    let none = || format!("no net directory under pci device {address}");
    let children = fs::read_dir(&device).map_err(|_| none())?;
    let mut virtio: Vec<PathBuf> = children
        .filter_map(|child| Some(child.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("virtio")))
        .collect();
    virtio.sort();
    virtio.iter().find_map(|path| link_in(&path.join("net")).ok()).ok_or_else(none)
}

fn link_of_allocated(sysfs: &Path, id: &str) -> Result<String, String> {
    if pci::device(sysfs, id).exists() {
        return link_of_pci(sysfs, id);
    }
    let auxiliary = sysfs.join("bus/auxiliary/devices").join(id);
    match auxiliary.exists() {
        true => link_in(&auxiliary.join("net")),
        false => Err(format!("runtime config DeviceID {id} not found or unsupported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_net::IfName;

    fn links() -> Vec<LinkFact> {
        let mac = Some("02:00:00:00:00:42".parse().unwrap());
        let named = |index, name: &str| LinkFact::new(index, IfName::new(name).unwrap(), "");
        vec![named(2, "eth0"), LinkFact { mac, ..named(3, "eth1") }]
    }

    fn sysfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| fs::create_dir_all(root.path().join(path)).unwrap();
        make("bus/pci/devices/0000:01:00.0/net/eth1");
        make("bus/pci/devices/0000:02:00.0/virtio3/net/eth0");
        make("bus/pci/devices/0000:03:00.0");
        make("bus/pci/drivers/vfio-pci");
        make("bus/auxiliary/devices/mlx5_core.sf.2/net/eth1");
        make("devices/pci0000:00/0000:01:00.0/net/eth1");
        let driver = root.path().join("bus/pci/devices/0000:03:00.0/driver");
        std::os::unix::fs::symlink("../../../../bus/pci/drivers/vfio-pci", driver).unwrap();
        root
    }

    fn found(selector: &Selector) -> Result<String, String> {
        let (root, links) = (sysfs(), links());
        Ok(match selector.find(root.path(), &links)? {
            Found::Link(link) => link.name.to_string(),
            Found::UserSpace => "user space".into(),
        })
    }

    #[test]
    fn each_selector_finds_its_device() {
        let path = PathBuf::from("devices/pci0000:00/0000:01:00.0");
        for (selector, expected) in [
            (Selector::Name("eth1".into()), "eth1"),
            (Selector::Hardware("02:00:00:00:00:42".parse().unwrap()), "eth1"),
            (Selector::KernelPath(path), "eth1"),
            (Selector::Pci("0000:01:00.0".into()), "eth1"),
            (Selector::Pci("0000:02:00.0".into()), "eth0"),
            (Selector::Pci("0000:03:00.0".into()), "user space"),
            (Selector::Allocated("0000:03:00.0".into()), "user space"),
            (Selector::Allocated("0000:01:00.0".into()), "eth1"),
            (Selector::Allocated("mlx5_core.sf.2".into()), "eth1"),
        ] {
            assert_eq!(found(&selector).as_deref(), Ok(expected), "{selector:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (selector, expected) in [
            (Selector::Name("eth9".into()), "Link not found: eth9"),
            (Selector::Pci("0000:09:00.0".into()), "no net directory under pci device 0000:09:00.0"),
            (Selector::Allocated("sf.9".into()), "runtime config DeviceID sf.9 not found or unsupported"),
        ] {
            assert_eq!(found(&selector).unwrap_err(), expected);
        }
    }
}
