//! Tracked connections that stand in the way of new rules.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Family;

/// A tracked connection, as its first packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who began it.
    pub source: IpAddr,
    /// Source port; 0 if there is none.
    pub source_port: u16,
    /// With whom.
    pub destination: IpAddr,
    /// The protocol by its number (17 is UDP).
    pub protocol: u8,
    /// Destination port, or type of an ICMP message; 0 if there is neither.
    pub port: u16,
}

/// Tracked connections to forget: those of a protocol whose first packet went to a port. Rules that rewrite addresses are asked
/// about the first packet only, so a connection that began before a rule goes on as if the rule were not there. A failure is
/// none of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Their family.
    pub family: Family,
    /// The transport protocol by its number (17 is UDP).
    pub protocol: u8,
    /// The port that the first packet was sent to.
    pub port: u16,
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, protocol, port } = self;
        write!(f, "forget {family} connections of protocol {protocol} to port {port}")
    }
}
