//! What a bond needs besides its name and its ports.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Mac};

/// A bond: several links that act as one. Ports are links whose master it is; they must be down when they join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// How ports share the work: 0 balance-rr, 1 active-backup, 2 balance-xor, 3 broadcast, 4 802.3ad, 5 balance-tlb, 6 balance-alb.
    pub mode: u8,
    /// Everything that differs from the kernel's defaults. Which of them a mode allows, the kernel says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<BondOption>,
}

/// One option of a bond (Documentation/networking/bonding.rst).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BondOption {
    /// One with a number as its value.
    Number(BondNumber, u32),
    /// `arp_ip_target`: whom to ask whether the wire works.
    ArpTargets(Vec<Ipv4Addr>),
    /// `ad_actor_system`: the system's address in LACP.
    ActorSystem(Mac),
    /// `primary`: the port that is used whenever it works, a link of the same namespace.
    Primary(IfName),
}

/// Options with numbers as values; those with names have the kernel's number of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BondNumber {
    /// Milliseconds between looks at the carrier.
    Miimon,
    /// Milliseconds from carrier to use.
    UpDelay,
    /// Milliseconds from loss to disuse.
    DownDelay,
    /// Whether the carrier is what the driver says.
    UseCarrier,
    /// Milliseconds between ARP questions.
    ArpInterval,
    /// Which answers are looked at.
    ArpValidate,
    /// Whether any or all targets must answer.
    ArpAllTargets,
    /// When a primary takes over again.
    PrimaryReselect,
    /// Whose address the ports have.
    FailOverMac,
    /// What flows are told apart by.
    XmitHashPolicy,
    /// IGMP reports after a change.
    ResendIgmp,
    /// Whether ports that are not in use may receive.
    AllSlavesActive,
    /// Ports that must work for the bond to.
    MinLinks,
    /// Seconds between packets that teach switches.
    LpInterval,
    /// Packets through one port in a row.
    PacketsPerSlave,
    /// How often LACP is spoken.
    LacpRate,
    /// How aggregators are chosen.
    AdSelect,
    /// The system's priority in LACP.
    AdActorSysPrio,
    /// The port key in LACP.
    AdUserPortKey,
    /// Whether flows are shuffled by load.
    TlbDynamicLb,
    /// Milliseconds between announcements.
    PeerNotifDelay,
}
