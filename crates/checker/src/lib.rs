//! The independent checker: what must hold between pools, endpoints, pods and the kernels of nodes, whoever made them so.
//!
//! It knows nothing of how state came about, of none of polynic's other rooms but the vocabulary, and it changes nothing. Tests
//! ask it after every scenario, the simulation of the allocator after every step, `doctor` in production. Give it what was
//! read ([`Cluster`], [`NodeView`]), take a list of [`Violation`]s, worst first.
//!
//! ```
//! use polynic_checker::{Cluster, Endpoint, EndpointAddress, Pod, check_cluster};
//! let pod = |name: &str| Pod { key: format!("team/{name}"), uid: name.to_owned(), ..Pod::default() };
//! let endpoint = |name: &str| Endpoint {
//!     key: format!("team/{name}"),
//!     uid: name.to_owned(),
//!     addresses: vec![EndpointAddress { nic: "eth0".into(), pool: "blue".into(), ip: "10.9.0.7".parse().unwrap() }],
//!     ..Endpoint::default()
//! };
//! let cluster = Cluster {
//!     endpoints: vec![endpoint("a"), endpoint("b")],
//!     pods: vec![pod("a"), pod("b")],
//!     ..Cluster::default()
//! };
//! let violations = check_cluster(&cluster);
//! assert!(violations[0].to_string().starts_with("address 10.9.0.7: "));
//! ```

mod cluster;
mod endpoints;
mod node;
mod pods;
mod pools;
mod violation;

pub use cluster::{Cluster, Endpoint, EndpointAddress, NetworkStatus, Pod, Pool, Record, Reserved, Subnet};
pub use node::{NodeView, check_node};
pub use violation::{Rule, Severity, Violation};

/// Checks the objects of a cluster against each other. Moments are allowed for: what is about to be put right by itself
/// (a pod that is being deleted, an ADD under way) shows as [`Severity::Leftover`] at most, so ask again before believing it.
pub fn check_cluster(cluster: &Cluster) -> Vec<Violation> {
    let mut violations = pools::check(cluster);
    violations.extend(endpoints::check(cluster));
    violations.extend(pods::check(cluster));
    violations.sort_by(|a, b| (a.rule.severity(), &a.object).cmp(&(b.rule.severity(), &b.object)));
    violations
}

#[cfg(test)]
mod tests;
