//! A small Kubernetes API server.
mod crd;
mod json;
pub mod patch;
pub mod resource;
pub mod selector;
pub mod status;
pub mod store;
pub mod strategy;
pub mod table;
