//! A small Kubernetes API server.
pub mod status;
pub mod store;
