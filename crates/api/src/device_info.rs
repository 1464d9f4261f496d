//! Device information as device plugins write it into files and status rows carry it (spec/multus.md 6.3).

use serde::{Deserialize, Serialize};

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $key:literal: $about:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                #[doc = $about]
                #[serde(rename = $key, skip_serializing_if = "String::is_empty")]
                pub $field: String,
            )*
        }
    };
}

/// What is known about the device behind an interface; one of the four parts, by `kind`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// `pci`, `vhost-user`, `memif` or `vdpa`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Version of this format, for instance `1.1.0`.
    pub version: String,
    /// A PCI function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<Pci>,
    /// A vDPA device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vdpa: Option<Vdpa>,
    /// A vhost-user socket.
    #[serde(rename = "vhost-user", skip_serializing_if = "Option::is_none")]
    pub vhost_user: Option<VhostUser>,
    /// A memif socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memif: Option<Memif>,
}

texts! {
    /// A PCI function.
    Pci {
        pci_address = "pci-address": "PCI address.",
        vhost_net = "vhost-net": "Path of the vhost-net device.",
        rdma_device = "rdma-device": "Name of the RDMA device.",
        pf_pci_address = "pf-pci-address": "PCI address of the physical function.",
        representor_device = "representor-device": "Name of the representor on the host.",
    }
}

texts! {
    /// A vDPA device.
    Vdpa {
        parent_device = "parent-device": "Device it hangs on.",
        driver = "driver": "Driver it is bound to.",
        path = "path": "Device file.",
        pci_address = "pci-address": "PCI address.",
        pf_pci_address = "pf-pci-address": "PCI address of the physical function.",
        representor_device = "representor-device": "Name of the representor on the host.",
    }
}

texts! {
    /// A vhost-user socket.
    VhostUser {
        mode = "mode": "`client` or `server`.",
        path = "path": "The socket.",
    }
}

texts! {
    /// A memif socket.
    Memif {
        role = "role": "`master` or `slave`.",
        path = "path": "The socket.",
        mode = "mode": "`ethernet`, `ip` or `inject-punt`.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_written_alike() {
        let text =
            r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:01:02.3","rdma-device":"mlx"}}"#;
        let info: DeviceInfo = serde_json::from_str(text).unwrap();
        assert_eq!(info.pci.as_ref().unwrap().pci_address, "0000:01:02.3");
        assert_eq!(serde_json::to_string(&info).unwrap(), text);
    }
}
