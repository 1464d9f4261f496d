//! The vocabulary of polynic: what a kernel object is called, what it should look like, what was seen,
//! and what is to change.
//!
//! Everything here is pure data. [`Facts`] say what was observed, a [`Plan`] is an ordered list of
//! [`Change`]s with their undo built in, [`Plan::teardown`] turns an applied plan into the shortest list of
//! changes that removes it, and [`check::violations`] compares what plans promised with what is there now.
//! Reading and changing a kernel is the business of `polynic-kernel`; this crate knows no I/O.
//!
//! ```
//! use polynic_net::{Change, IfName, Link, LinkKind, Place, Plan, Veth};
//! let name: IfName = "net1".parse()?;
//! let peer: IfName = "veth0a1b2c3d".parse()?;
//! let link = Link::new(name.clone(), LinkKind::Veth(Veth { place: Place::Host, name: peer, mac: None, mtu: None }));
//! let mut plan = Plan::default();
//! plan.own(Change::create_link(Place::Pod, link));
//! plan.own(Change::up(Place::Pod, &name));
//! // Deleting the pair is all it takes to remove it: the link's state goes with the link.
//! assert_eq!(plan.teardown().len(), 1);
//! # Ok::<(), polynic_net::IfNameError>(())
//! ```

mod address;
mod bond;
mod change;
pub mod check;
mod entropy;
mod facts;
mod fdb;
mod firewall;
mod flow;
mod implied;
mod interval;
mod link;
mod name;
mod neighbour;
mod place;
mod plan;
mod probe;
mod range;
mod renamed;
mod route;
mod rule;
mod ruleset;
pub mod stack;
mod sysctl;
mod traffic;
mod vf;
mod wireguard;
mod zone;

pub use address::Address;
pub use bond::{Bond, BondNumber, BondOption};
pub use change::{AttrChange, Change, Diff, Move, Object, Wait};
pub use entropy::Entropy;
pub use facts::{
    AddressFact, Destination, Facts, IpipFact, LinkFact, LinkNeed, Needs, NsFacts, NsNeeds, OperState,
    RpFilterNeed, VxlanFact, Way, is_global,
};
pub use fdb::Forwarding;
pub use firewall::{
    FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable, FwVerdict,
};
pub use flow::{Flow, Flows};
pub use interval::{IntervalSet, RangeTextError};
pub use link::{
    Attr, Ipvlan, IpvlanMode, Link, LinkKind, LinkRef, Macvlan, MacvlanMode, PortVlan, Tap, Veth, Vlan, Vxlan,
};
pub use name::{IfName, IfNameError, LinkName, Mac, MacError};
pub use neighbour::Neighbour;
pub use place::{Family, Place};
pub use plan::{PLAN_FORMAT, Plan, Stake, Step};
pub use probe::{Announcement, Probe, Seek};
pub use range::{IpRange, RangeError, ip_from_u128, ip_to_u128};
pub use renamed::Names;
pub use route::{NextHop, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN, scope};
pub use rule::Rule;
pub use ruleset::{FwBody, FwEdit, FwInventory, FwRules, FwRuleset, FwSet};
pub use sysctl::{Sysctl, SysctlKey, SysctlKeyError};
pub use traffic::{
    Qdisc, TokenBucket, Traffic, TrafficAction, TrafficFact, TrafficFilter, TrafficHook, TrafficKey,
    TrafficMatch, TrafficObject,
};
pub use vf::{VfAttr, VfFact, VfLinkState, VfRate, VfVlan, VlanProtocol};
pub use wireguard::{
    Wireguard, WireguardFact, WireguardKey, WireguardKeyError, WireguardOwn, WireguardPart, WireguardPeer,
    WireguardSecret,
};
pub use zone::ZoneSource;

pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
