//! Addresses on links.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, IfName};

/// An address with its prefix on a link. Its identity is the link and the prefix with host bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The link that has the address.
    pub link: IfName,
    /// The address with the prefix length of its network.
    pub net: IpNet,
    /// Skip duplicate address detection (`IFA_F_NODAD`, IPv6 only).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nodad: bool,
}

impl Address {
    /// An address with the kernel's default flags, so that IPv6 runs duplicate address detection.
    pub fn new(link: &IfName, net: IpNet) -> Self {
        Self { link: link.clone(), net, nodad: false }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.net.addr())
    }
}
