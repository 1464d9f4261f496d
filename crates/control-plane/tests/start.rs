//! The control plane starts and answers kubectl.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
use polynic_control_plane::{ControlPlane, Programs};

#[test]
fn a_real_control_plane_becomes_ready() {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = ControlPlane::start(&programs).unwrap();
    assert!(plane.kubeconfig_path().is_file());
    let [etcd, kube_apiserver] = plane.process_ids();
    assert_ne!(etcd, kube_apiserver);
}
