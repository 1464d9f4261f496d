//! For tests: a real Kubernetes control plane, etcd and kube-apiserver, in a temporary directory and on loopback; [`Controllers`] adds
//! kube-controller-manager and kube-scheduler where a test has nodes. The
//! embedded API server is judged against it, and clients run their tests on both.
//!
//! The programs come from `KUBEBUILDER_ASSETS`, else from what `scripts/control-plane.sh` built into the cache directory.
//! Where they are missing, tests say so and are skipped; with `cluster` in `POLYNIC_REQUIRE_TIERS` they fail.
//!
//! ```no_run
//! use polynic_control_plane::{ControlPlane, Programs};
//!
//! if let Some(programs) = Programs::or_skip() {
//!     let plane = ControlPlane::start(&programs).unwrap();
//!     println!("kubectl --kubeconfig {} get --raw /version", plane.kubeconfig_path().display());
//! }
//! ```

mod cases;
mod controllers;
mod identity;
mod plane;
mod probe;
mod process;
mod programs;
mod store;

pub use self::cases::{Case, current, each_on_a_real_server, on_a_real_server};
pub use self::controllers::{CertificateSigner, Controllers};
pub use self::identity::ClientCertificate;
pub use self::plane::{ControlPlane, StartError};
pub use self::programs::{NodePrograms, Programs, controller_manager_or_skip};
