//! The Kubernetes side of polynic as plain values: what users write and read.
//!
//! [`NetworkAttachmentDefinition`] and its CRD, the pod annotations that select networks ([`selection`]), the rows of the
//! network-status annotation ([`status`]), devices ([`device_info`], [`dra`]), [`MultiNetworkPolicy`], the texts of Events ([`event`]),
//! and Spiderpool's kinds ([`spider`]). No I/O and no API client here; JSON is read and written
//! by the rules of the Go programs that share these objects with us, with the means of `polynic_cni::json`.
//!
//! ```
//! let elements = polynic_api::selection::parse_networks("macvlan-conf, infra/lan@lan0", "default").unwrap();
//! assert_eq!(elements[1].namespace, "infra");
//! assert_eq!(elements[1].interface, "lan0");
//! ```

pub mod admission;
pub mod annotation;
pub mod device_info;
pub mod dra;
pub mod event;
mod hardware;
pub mod meta;
pub mod multi_policy;
pub mod nad;
pub mod selection;
pub mod spider;
pub mod status;
pub mod whereabouts;

pub use event::{PodEvent, Severity};
pub use multi_policy::MultiNetworkPolicy;
pub use nad::NetworkAttachmentDefinition;
pub use selection::{Bandwidth, PortMapping, SelectionElement};
pub use status::NetworkStatus;
