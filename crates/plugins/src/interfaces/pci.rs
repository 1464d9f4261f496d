//! Devices on the PCI bus, as sysfs shows them.

use std::fs;
use std::path::{Path, PathBuf};

/// Drivers that give a device to a program in user space: there is no link then.
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// The directory of a device. The address must be one component of a path.
pub(super) fn device(sysfs: &Path, address: &str) -> PathBuf {
    sysfs.join("bus/pci/devices").join(address)
}

/// Whether a driver in user space has the device.
pub(super) fn is_user_space(sysfs: &Path, address: &str) -> bool {
    let name = target(&device(sysfs, address).join("driver"));
    name.is_some_and(|name| USER_SPACE_DRIVERS.contains(&name.as_str()))
}

/// The last component of what a symbolic link points to.
pub(super) fn target(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// The links that a device's `net` directory names, sorted.
pub(super) fn links_in(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The one link that a device's `net` directory names; of several the first.
pub(super) fn link_in(directory: &Path) -> Result<String, String> {
    links_in(directory)?.into_iter().next().ok_or_else(|| format!("{} is empty", directory.display()))
}
