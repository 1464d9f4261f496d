//! Permanent neighbour entries.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Mac};

/// A permanent entry of the neighbour table. Its identity is link and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The link on which the neighbour is.
    pub link: IfName,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}
