//! What shim, plugins and the node agent say to each other: the agent API of spec/spiderpool.md section 5, and in [`multus`] the CNI calls
//! of spec/multus.md 13.6.
//!
//! [`messages`] are the bodies, [`AddressService`] is the API as a trait: blocking calls with a deadline. [`SocketService`]
//! serves it over a unix socket; the agent serves it to plugins in its own process without one. [`journal`] is what a
//! plugin leaves on disk when nobody listens.
//!
//! [`policy`] is what an attachment asks of whoever keeps network policies in force.
//!
//! [`whereabouts`] is what the plugin of that name asks.
//!
//! [`unfinished`] is what killed writers of such files leave.
//!
//! No async runtime and no Kubernetes: a plugin process links this and starts nothing.

mod client;
mod http;
pub mod journal;
pub mod messages;
pub mod multus;
pub mod policy;
mod service;
pub mod unfinished;
pub mod whereabouts;

pub use client::{SocketService, Sockets};
pub use journal::ReleaseJournal;
pub use policy::{PolicyNetwork, PolicySandbox, PolicySocket};
pub use service::{AddressService, AddressServices, ServiceError};

/// Where the agent listens unless a configuration says otherwise (spec/spiderpool.md 4, 14).
pub const DEFAULT_SOCKET: &str = "/var/run/spidernet/spiderpool.sock";

/// The base path of the API.
pub const BASE_PATH: &str = "/v1";

/// Status of a batch release that was refused because conflict release is switched off (spec/spiderpool.md 5).
pub const CONFLICT_RELEASE_DISABLED: u16 = 521;

/// Status of a batch release that was refused because the pod keeps its addresses (spec/spiderpool.md 5).
pub const CONFLICT_RELEASE_REFUSED: u16 = 522;
