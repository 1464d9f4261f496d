//! SpiderCoordinator status (spec/spiderpool.md 11): which CIDRs the cluster has. `sources` reads the places where a cluster says so,
//! `decide` makes a status of what was read, [`run`] keeps it right.

mod cni_conf;
mod decide;
mod observe;
mod reconcile;
mod sources;

pub use cni_conf::{first_conf, first_name, pod_cidr_type_of};
pub use decide::{Decision, PodCidrType, decide};
pub use observe::{CoordinatorSettings, observe};
pub use reconcile::run;
pub use sources::{Cidrs, Found, Sources, of_arguments, of_kubeadm, of_node_args};
