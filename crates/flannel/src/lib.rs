//! flannel's core, without Kubernetes and without a clock.
//!
//! [`NetConf`] is the network configuration, [`Keys`] the names of annotations, [`Lease`] and [`Own`] what nodes say of themselves,
//! [`Selection`] the choice of the external interface. From these follows [`Desired`], what the kernel should look like; [`diff`] compares
//! it with what is there; and [`Instance`] does that again and again. [`SubnetFile`] is what the CNI plugin reads.
//!
//! Nothing is done by event: whatever was missed while nobody looked is found by the next comparison.

pub mod desired;
pub mod diff;
mod family;
mod interface;
mod iptables;
mod keys;
mod lease;
mod net_conf;
mod reconcile;
pub mod rules;
mod subnet_file;
pub mod wireguard;

pub use desired::{Desired, Wish};
pub use family::PerFamily;
pub use interface::{External, InterfaceError, Selection};
pub use keys::{DEFAULT_PREFIX, Keys, PrefixError};
pub use lease::{Announcement, Endpoint, Lease, LeaseProblem, Node, Own, OwnError};
pub use net_conf::{Backend, NetConf, NetConfError, VxlanConf};
pub use reconcile::{Instance, Outcome, PassError, Settings};
pub use subnet_file::{DEFAULT_PATH, SubnetFile, SubnetFileError, make_directory, write_whole};
pub use wireguard::{WireguardConf, WireguardEnd};

/// Unit tests that need the real kernel use `polynic_kernel::testing::scratch_netns`.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn private_namespaces() {
    polynic_kernel::testing::enter_before_main();
}
