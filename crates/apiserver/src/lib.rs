//! A small, real Kubernetes API server as a library: HTTPS with its own CA, one durable file, discovery, watches,
//! patches, custom kinds and server-side tables. kubectl, client-go and kube-rs speak to it as to any other. It knows
//! nothing of networks, schedules nothing and runs nothing.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use polynic_apiserver::{Config, Server};
//!
//! let dir = tempfile::tempdir()?;
//! let running = Server::start(Config::new(dir.path())).await?;
//! println!("kubectl --kubeconfig {} get namespaces", running.kubeconfig_path().display());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! One request's way: `server` (TCP, TLS) -> `http` (who, what, in which form) -> [`api`] (the verbs) -> [`store`] (one
//! decision at a time, many per fsync); `admission` asks webhooks before a decision. What differs between kinds is data in [`resource`] and rules in [`strategy`];
//! [`patch`], [`selector`] and [`table`] are pure.
//!
//! What must hold:
//! - `store` knows no kinds and no HTTP; `api` knows no HTTP; `http` decides nothing about objects.
//! - A write is answered after its fsync, never before; kill -9 and power cuts lose nothing that was answered.
//! - A decision sees the store alone: reading, checking and writing are one step, so writes of an object are linearizable.
//! - A watch brings every change once and in the order of revisions, or ends. Nothing is buffered without bound.
//! - What objects look like is said once, in [`schema`], for built-in and custom kinds alike.
//! - A built-in kind is a row in `resource/builtin.rs`, plus a [`strategy::Strategy`] where it has rules of its own.
mod access;
mod admission;
pub mod api;
mod cel;
mod crd;
pub mod decode;
mod defaults;
mod entropy;
mod go;
mod http;
mod identity;
mod json;
mod meta;
mod ownership;
pub mod patch;
mod protobuf;
mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
mod server;
pub mod status;
pub mod store;
pub mod strategy;
pub mod table;
mod warning;

pub use self::admission::{ResolveError, ServiceResolver};
pub use self::http::{Authorization, Connecting, Kubelets};
pub use self::identity::IdentityError;
pub use self::server::{Config, Running, Server, StartError};
