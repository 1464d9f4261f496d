//! [`polynic_attach::Cluster`] with kube: the only way from a thin `multus` to a real API server (spec/multus.md 10.3 and 12).
//!
//! [`client_from`] chooses and makes a client; [`KubeCluster`] answers the questions of an attachment over it, synchronously, on a
//! current-thread runtime of its own that is made together with the connection when the first question is asked. Requests are built from
//! plain paths and JSON values, so a pod that is written back keeps every field, known to us or not.
//!
//! [`NodeCache`] and [`NodeCluster`] answer the same questions in the node agent, from copies of the node's pods and of all NADs.
//!
//! [`spider`] is the typed access to Spiderpool's kinds for daemons, which use kube's own caches and watchers.
//!
//! [`addresses`] is the allocator's store, for the agent.
//!
//! [`devices`] are those that a pod was given: by kubelet, over gRPC on a unix socket, and by resource claims.
//!
//! [`flannel`] is what flannel's daemon sees and says of nodes.
//!
//! [`whereabouts`] serves the plugin of that name.
//!
//! [`survey`] is one look at all of them, for `polynic pools` and `polynic doctor`.
//!
//! TLS is rustls with ring, and trusts only the kubeconfig's or the service account's CA, never the machine's. Names are looked up in
//! /etc/hosts; see [`connect`].

pub mod addresses;
mod asker;
mod cache;
pub mod connect;
pub mod devices;
pub mod flannel;
mod kube_cluster;
mod node_cache;
mod objects;
mod pod_event;
mod reloading;
mod request;
mod retry;
pub mod spider;
pub mod survey;
mod token_file;
mod told;
mod transport;
pub mod whereabouts;

pub use connect::{ConnectError, client_at, client_from, client_of};
/// A connection to an API server, for those who only pass it on.
pub use kube::Client;
pub use kube_cluster::KubeCluster;
pub use node_cache::{GivenUp, NodeCache, NodeCluster, NodePod};
pub use reloading::Reloading;
pub use retry::Limits;

#[cfg(test)]
mod fake_server;
