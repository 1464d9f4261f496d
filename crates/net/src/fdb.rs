//! Forwarding entries of overlay tunnels.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Mac};

/// A permanent entry of a tunnel's own forwarding table (`bridge fdb ... self permanent`): frames to a hardware address leave
/// for a tunnel endpoint. Its identity is link and hardware address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Forwarding {
    /// The tunnel.
    pub link: IfName,
    /// The hardware address that frames go to.
    pub mac: Mac,
    /// The endpoint that has it.
    pub dst: IpAddr,
}
