//! Links as they should be made, and the attributes that can change on an existing one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{Bond, IfName, Mac, Place, VfAttr};

/// A link to create. Links are always created down; bringing one up is a change of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name in the namespace where it is created.
    pub name: IfName,
    /// What it is.
    pub kind: LinkKind,
    /// Its hardware address; absent: the kernel's choice. Planners choose one, so that the result is known before
    /// anything is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its MTU in bytes; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

impl Link {
    /// A link of `kind` with the kernel's address and MTU.
    pub fn new(name: IfName, kind: LinkKind) -> Self {
        Self { name, kind, mac: None, mtu: None }
    }
}

/// A link by place and name: the only way plans refer to links, because indexes differ from run to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkRef {
    /// The namespace it is in.
    pub place: Place,
    /// Its name there.
    pub name: IfName,
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.place, self.name)
    }
}

/// The kinds of link that can be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A virtual cable; the second end is made in the same step.
    Veth(Veth),
    /// A software switch.
    Bridge {
        /// Whether ports keep VLANs apart (`IFLA_BR_VLAN_FILTERING`).
        vlan_filtering: bool,
    },
    /// A station with an address of its own on a parent link.
    Macvlan(Macvlan),
    /// A macvlan with a character device for virtual machines.
    Macvtap(Macvlan),
    /// A station that shares its parent's hardware address.
    Ipvlan(Ipvlan),
    /// What a parent receives with one VLAN's tag.
    Vlan(Vlan),
    /// A link that goes nowhere.
    Dummy,
    /// A domain of its own for the routes of its ports.
    Vrf {
        /// The table of these routes.
        table: u32,
    },
    /// An overlay tunnel.
    Vxlan(Vxlan),
    /// A tunnel of IPv4 packets in IPv4 packets, to whatever the next hop is.
    Ipip {
        /// Outer source address.
        local: Option<Ipv4Addr>,
    },
    /// An encrypted tunnel. Keys and peers are settings of its own ([`crate::Wireguard`]).
    Wireguard,
    /// An intermediate functional block, for shaping. It has no queue of its own (length 0).
    Ifb,
    /// A persistent tap device.
    Tap(Tap),
    /// Several links that act as one.
    Bond(Bond),
}

impl LinkKind {
    /// The kernel's name of the kind (`IFLA_INFO_KIND`).
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Veth(_) => "veth",
            Self::Bridge { .. } => "bridge",
            Self::Macvlan(_) => "macvlan",
            Self::Macvtap(_) => "macvtap",
            Self::Ipvlan(_) => "ipvlan",
            Self::Vlan(_) => "vlan",
            Self::Dummy => "dummy",
            Self::Vrf { .. } => "vrf",
            Self::Vxlan(_) => "vxlan",
            Self::Ipip { .. } => "ipip",
            Self::Wireguard => "wireguard",
            Self::Ifb => "ifb",
            Self::Tap(_) => "tun",
            Self::Bond(_) => "bond",
        }
    }

    /// The link that it stands on, if any.
    pub fn parent(&self) -> Option<&LinkRef> {
        match self {
            Self::Macvlan(m) | Self::Macvtap(m) => Some(&m.parent),
            Self::Ipvlan(i) => Some(&i.parent),
            Self::Vlan(v) => Some(&v.parent),
            Self::Vxlan(v) => v.parent.as_ref(),
            Self::Veth(_)
            | Self::Bridge { .. }
            | Self::Dummy
            | Self::Vrf { .. }
            | Self::Ipip { .. }
            | Self::Wireguard
            | Self::Ifb
            | Self::Tap(_)
            | Self::Bond(_) => None,
        }
    }
}

/// The second end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veth {
    /// The namespace of the peer.
    pub place: Place,
    /// The peer's name there.
    pub name: IfName,
    /// The peer's hardware address; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The peer's MTU in bytes; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What a macvlan or macvtap needs besides its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Macvlan {
    /// The link whose wire it shares.
    pub parent: LinkRef,
    /// How stations on one parent see each other.
    pub mode: MacvlanMode,
    /// Length of the broadcast queue (`IFLA_MACVLAN_BC_QUEUE_LEN`), in packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bc_queue_len: Option<u32>,
}

/// Macvlan modes (`IFLA_MACVLAN_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// No traffic between stations.
    Private,
    /// Traffic between stations goes out to the switch and comes back.
    Vepa,
    /// Stations reach each other directly.
    Bridge,
    /// One station takes over the parent.
    Passthru,
}

impl MacvlanMode {
    /// The kernel's number of the mode (include/uapi/linux/if_link.h).
    pub fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Vepa => 2,
            Self::Bridge => 4,
            Self::Passthru => 8,
        }
    }

    /// The mode with the kernel's number, if known.
    pub fn from_number(n: u32) -> Option<Self> {
        [Self::Private, Self::Vepa, Self::Bridge, Self::Passthru].into_iter().find(|m| m.number() == n)
    }
}

/// What an ipvlan needs besides its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipvlan {
    /// The link whose wire and hardware address it shares.
    pub parent: LinkRef,
    /// On which layer stations are told apart.
    pub mode: IpvlanMode,
}

/// Ipvlan modes (`IFLA_IPVLAN_MODE`). All stations of a parent have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// Stations answer ARP and see broadcasts.
    L2,
    /// The parent's namespace routes; no broadcasts.
    L3,
    /// As `L3`, and packets pass the parent's firewall.
    L3s,
}

impl IpvlanMode {
    /// The kernel's number of the mode (include/uapi/linux/if_link.h).
    pub fn number(self) -> u16 {
        match self {
            Self::L2 => 0,
            Self::L3 => 1,
            Self::L3s => 2,
        }
    }

    /// The mode with the kernel's number, if known.
    pub fn from_number(n: u16) -> Option<Self> {
        [Self::L2, Self::L3, Self::L3s].into_iter().find(|m| m.number() == n)
    }
}

/// What a VLAN link needs besides its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// The link that carries the tagged frames.
    pub parent: LinkRef,
    /// The VLAN's id, 0 to 4094.
    pub id: u16,
}

/// What a VXLAN link needs besides its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan {
    /// Network identifier, 24 bits.
    pub vni: u32,
    /// Link that carries the tunnel.
    pub parent: Option<LinkRef>,
    /// Outer source address.
    pub local: Option<IpAddr>,
    /// Multicast group or default remote.
    pub remote: Option<IpAddr>,
    /// UDP destination port; 0 = the kernel's default, 8472.
    pub port: u16,
    /// Whether forwarding entries are learnt from traffic.
    pub learning: bool,
    /// Whether packets carry a group policy id (`IFLA_VXLAN_GBP`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gbp: bool,
}

/// What a tap device needs besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// User allowed to open it.
    pub owner: Option<u32>,
    /// Group allowed to open it.
    pub group: Option<u32>,
    /// Several queues.
    pub multi_queue: bool,
    /// Packets carry a virtio header.
    pub vnet_hdr: bool,
}

/// One attribute of an existing link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attr {
    /// Administrative state (`IFF_UP`).
    Up(bool),
    /// MTU in bytes.
    Mtu(u32),
    /// Hardware address.
    Mac(Mac),
    /// The bridge (or other master) that the link is a port of, in the same namespace.
    Master(Option<IfName>),
    /// Receives everything (`IFF_PROMISC`).
    Promisc(bool),
    /// Receives all multicast (`IFF_ALLMULTI`).
    AllMulti(bool),
    /// Length of the transmit queue in packets.
    TxQueueLen(u32),
    /// Bridge port: may send back through the port a packet came from (`IFLA_BRPORT_MODE`).
    Hairpin(bool),
    /// Bridge port: no traffic to other isolated ports (`IFLA_BRPORT_ISOLATED`).
    Isolated(bool),
    /// Free text that names the link's origin (`IFLA_IFALIAS`).
    Alias(String),
    /// A setting of one of a physical function's virtual functions (`IFLA_VF_INFO`).
    Vf {
        /// The function's number.
        index: u32,
        /// The setting.
        attr: VfAttr,
    },
}

impl Attr {
    /// Whether both are the same attribute, whatever their values.
    pub fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vf { index, attr }, Self::Vf { index: same, attr: kind }) => {
                index == same && attr.same_kind(kind)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// Membership of a bridge port in a VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortVlan {
    /// The port.
    pub link: IfName,
    /// VLAN id, 1 to 4094.
    pub vid: u16,
    /// Untagged packets that come in belong to this VLAN.
    pub pvid: bool,
    /// Packets go out without a tag.
    pub untagged: bool,
}
