//! A certificate of its own for each node (spec/multus.md 13.10), by which the API server knows on whose behalf `multus` asks.
//!
//! `request` makes what is asked for, [`Store`] keeps what was got, [`Issuer`] asks. [`generator`] is the program
//! `kubeconfig_generator`, which does all that and writes a kubeconfig that leads to the certificate; [`approver`] is the other side,
//! `cert-approver`.

pub mod approver;
pub mod generator;
mod issuer;
mod request;
mod store;

pub use issuer::{IssueError, Issuer};
pub use request::{Identity, RequestError};
pub use store::{Store, StoreError, Stored};

/// The signer of clients' certificates.
pub const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// The name of a node's certificate begins so; its group is the same without the colon.
const PREFIX: &str = "system:multus";

#[cfg(test)]
mod tests;
