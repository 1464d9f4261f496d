//! What the webhooks decide (spec/spiderpool.md 3): defaults that are filled in, and rules that objects keep. Pure.
//!
//! Each kind has `mutate`, which never refuses anything (what it cannot understand it leaves to validation), and functions of validation,
//! which answer a [`Denial`]. Other objects that a rule looks at are arguments ([`Siblings`]).

mod addresses;
mod coordination;
pub mod coordinator;
mod denial;
pub mod multus_config;
pub mod pod;
pub mod pool;
pub mod reserved_ip;
pub mod subnet;

pub use addresses::{effective_set, family_of_version};
pub use denial::{Denial, FieldError};

use crate::spider::{SpiderIPPool, SpiderSubnet};

/// Switches of the configuration file that rules depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether IPv4 is in use (`enableIPv4`).
    pub ipv4: bool,
    /// Whether IPv6 is in use (`enableIPv6`).
    pub ipv6: bool,
    /// Whether SpiderSubnets are in use (`enableSpiderSubnet`).
    pub subnets: bool,
    /// Whether pools and subnets with addresses in use may not be deleted (`enableValidatingResourcesDeletedWebhook`).
    pub protect_in_use: bool,
}

/// The other pools and subnets of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Siblings<'a> {
    /// All pools; the one at hand is skipped by its name.
    pub pools: &'a [SpiderIPPool],
    /// All subnets; the one at hand is skipped by its name.
    pub subnets: &'a [SpiderSubnet],
}
