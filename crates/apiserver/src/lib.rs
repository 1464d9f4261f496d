//! A small Kubernetes API server.
pub mod api;
mod crd;
mod entropy;
mod http;
mod identity;
mod json;
mod meta;
pub mod patch;
pub mod resource;
pub mod selector;
mod server;
pub mod status;
pub mod store;
pub mod strategy;
pub mod table;

pub use self::identity::IdentityError;
pub use self::server::{Config, Running, Server, StartError};
