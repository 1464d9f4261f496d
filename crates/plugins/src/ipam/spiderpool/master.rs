//! The physical function whose virtual function a pod gets, for `match_master_subnet` (spec/spiderpool.md 7.3).
//!
//! The network's configuration names the device, as Multus filled it in. The interface itself may not be in the pod yet.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use polynic_kernel::Kernel;
use polynic_net::{IfName, Needs};
use serde::Deserialize;

use crate::Call;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    #[serde(rename = "deviceID")]
    device_id: String,
}

/// The node's addresses on the physical function; `sysfs` is `/sys`.
///
/// # Errors
/// The configuration names no device, or the device is no virtual function.
pub(super) fn addresses(
    sysfs: &Path,
    call: &Call<'_>,
    kernel: &mut dyn Kernel,
) -> Result<Vec<IpAddr>, String> {
    let device: Device = call.conf.read().map_err(|e| e.to_string())?;
    let masters = masters(sysfs, &device.device_id)?;
    let mut needs = Needs::default();
    needs.host.addresses = masters;
    let facts = kernel.observe(&needs).map_err(|e| e.to_string())?;
    Ok(facts.host.addresses.iter().map(|address| address.net.addr()).collect())
}

/// The links of a virtual function's physical function.
fn masters(sysfs: &Path, device: &str) -> Result<Vec<IfName>, String> {
    // It becomes a part of a path.
    let is_address = device.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    if device.is_empty() || !is_address || device.starts_with('.') {
        return Err(format!("deviceID {device:?} of the network's configuration is no PCI address"));
    }
    let directory = sysfs.join("bus/pci/devices").join(device).join("physfn/net");
    let names = names(&directory).map_err(|why| {
        format!("device {device} has no physical function with a link: {}: {why}", directory.display())
    })?;
    Ok(names.iter().filter_map(|name| IfName::new(name).ok()).collect())
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::{Invocation, PluginConf};
    use polynic_kernel::{Door, FakeDoor};
    use serde_json::json;

    #[test]
    fn the_addresses_are_those_of_the_devices_physical_function() {
        let sysfs = tempfile::tempdir().unwrap();
        fs::create_dir_all(sysfs.path().join("bus/pci/devices/0000:03:02.0/physfn/net/ens1f0")).unwrap();
        let door = FakeDoor::new();
        door.host(|host| {
            host.physical("ens1f0")
                .address("ens1f0", "10.6.0.2/16")
                .physical("ens1f1")
                .address("ens1f1", "10.7.0.2/16");
        });
        let find = |device: &str| {
            let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "sriov", "deviceID": device});
            let conf = PluginConf::from_map(conf.as_object().unwrap().clone()).unwrap();
            let invocation = Invocation { ifname: "net1".into(), ..Invocation::default() };
            let call = Call::new("spiderpool", &invocation, &conf).unwrap();
            let mut kernel = door.open(None).unwrap();
            let found = addresses(sysfs.path(), &call, kernel.as_mut())?;
            Ok::<_, String>(found.into_iter().filter(IpAddr::is_ipv4).collect::<Vec<_>>())
        };
        assert_eq!(find("0000:03:02.0").unwrap(), ["10.6.0.2".parse::<IpAddr>().unwrap()]);
        assert!(find("0000:03:02.1").unwrap_err().contains("0000:03:02.1 has no physical function"));
        for wrong in ["", "../..", "..", "0000:03/02.0"] {
            assert!(find(wrong).unwrap_err().contains("is no PCI address"), "{wrong}");
        }
    }
}
