//! What polynic's daemons share, written once: what they are told ([`configuration`]), logging ([`log`]), serving HTTP on TCP and unix sockets ([`http`]), probes
//! ([`health`]), metrics in the text format of Prometheus ([`metrics`]), certificates that can be exchanged while they are in use ([`tls`]),
//! leader election by a Lease ([`leader`]), and the way a daemon ends ([`shutdown`]).
//!
//! Nothing here knows what a daemon does.

pub mod configuration;
pub mod health;
pub mod http;
pub mod leader;
pub mod log;
pub mod metrics;
pub mod shutdown;
pub mod tls;

pub use shutdown::Shutdown;
