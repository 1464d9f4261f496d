//! Questions to the network and news for it: who has an address, and that we have one (spec/coordinator.md 4.9 and 5).
//!
//! Both are steps of a plan without undo. Several questions that follow each other are asked at the same time.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Mac};

/// One question, asked from a link with ARP (IPv4) or neighbour discovery (IPv6). Answers by the link itself do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The link to ask from. It must be up.
    pub link: IfName,
    /// The address that is asked about.
    pub ip: IpAddr,
    /// What for.
    pub seek: Seek,
    /// Time after each question, in milliseconds.
    pub interval_ms: u64,
    /// How often it is asked, at least once.
    pub count: u32,
}

/// What a probe seeks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seek {
    /// Nobody: an answer is an error, silence is what is hoped for.
    Nobody,
    /// A gateway: an answer is what is hoped for, silence is an error.
    Gateway {
        /// The own address, the sender's in ARP.
        from: IpAddr,
    },
}

impl Probe {
    /// How long it takes at most, in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.interval_ms.saturating_mul(u64::from(self.count.max(1)))
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seek {
            Seek::Nobody => write!(f, "ask on {} whether {} is free", self.link, self.ip),
            Seek::Gateway { .. } => write!(f, "ask on {} for gateway {}", self.link, self.ip),
        }
    }
}

/// Tells all stations which hardware address an address has: a gratuitous ARP request, or an unsolicited neighbour
/// advertisement together with the solicitation that the replaced plugins send. A failure is none of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The link.
    pub link: IfName,
    /// The address.
    pub ip: IpAddr,
    /// The hardware address that it has now.
    pub mac: Mac,
}
