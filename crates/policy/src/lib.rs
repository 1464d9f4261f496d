//! MultiNetworkPolicy (spec/multi-networkpolicy.md): what pods may do on their secondary networks.
//!
//! [`Index`] is fed with policies, pods and namespaces as they change, and says which pods that concerns; [`Index::render`] answers one
//! pod's table of rules ([`PodTable`]), and what of its policies could not be rendered. Both are pure: who watches, who
//! edits the kernel and who writes Events lives elsewhere.
//!
//! What cannot be understood never opens more than was meant: bad items of a list are left out one by one, and a list of which nothing
//! is left matches nothing, not everything.

mod custom;
mod index;
mod names;
mod peers;
mod pod;
mod pod_table;
mod policy;
mod ports;
mod render;
mod verdict;

pub use custom::{CustomRuleError, CustomRules};
pub use index::{Index, Options};
pub use names::{Direction, TABLE, table};
pub use pod::{Attachment, ContainerPort, Pod, PodKey};
pub use pod_table::PodTable;
pub use policy::{Policy, PolicyKey, Problem, version};
pub use render::Rendered;
pub use verdict::{Packet, passes};

#[cfg(test)]
mod reference;
