//! Thin mode: `thin_entrypoint` (spec/multus.md 14.1), which puts `multus` on the node, with a configuration and with credentials, and
//! keeps both fresh.
//!
//! The replaced program refreshes credentials and configuration only with `--cleanup-config-on-exit`; here they always are, because a token
//! that has expired takes the network of every new pod away.

mod credentials;
mod document;
mod entrypoint;
mod master;
mod options;

pub use credentials::{Credentials, CredentialsError, SERVICE_ACCOUNT};
pub use document::{DocumentError, document};
pub use entrypoint::{Entrypoint, ThinError};
pub use options::{Options, OptionsError, Parsed};

#[cfg(test)]
mod tests;
