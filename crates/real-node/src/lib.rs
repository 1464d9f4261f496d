//! For tests: a machine with a real container runtime, and with a real kubelet where a test asks for one.
//!
//! A [`Space`] is such a machine's view of the world: network, mounts, processes and host name of its own. Whatever a test starts in
//! it ends with it, and neither the host's network nor its `/run`, `/opt/cni` or `/var/lib` are touched. [`Containerd`] runs in a
//! space with the settings of the Debian package but directories of its own, and [`Cri`] speaks to it as a kubelet does.
//!
//! A [`Cluster`] is a control plane and two [`Node`]s with kubelet, containerd and our agent, on one link; one of them attaches pods by thin
//! `multus`, the other through its agent.
//!
//! The tier is called `node`. It needs root (container runtimes do) and Debian's containerd and runc; [`Tools::or_skip`] says what is
//! missing.
//!
//! Everything here is for tests: whatever goes wrong fails the test that asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod api;
mod cluster;
mod containerd;
mod cri;
mod device_plugin;
mod dra_driver;
mod helm;
mod image;
mod kubelet;
mod leftovers;
mod libcni;
mod manifests;
mod node;
mod process;
mod shipped;
mod space;
mod tools;
mod unary;
mod upstream;
pub mod wait;

pub use api::Api;
pub use cluster::Cluster;
pub use containerd::{Containerd, Places};
pub use cri::{Cri, Sandbox, SandboxName};
pub use device_plugin::offer_devices;
pub use dra_driver::serve_claims;
pub use helm::Helm;
pub use image::{IMAGE, write_root};
pub use kubelet::Kubelet;
pub use leftovers::Leftovers;
pub use libcni::Libcni;
pub use manifests::Manifests;
pub use node::{Mode, Node};
pub use process::Process;
pub use shipped::Shipped;
pub use space::{Interfaces, Space};
pub use tools::Tools;
pub use upstream::Upstream;
