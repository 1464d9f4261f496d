//! The controller against the embedded API server, and against a real one where its programs are. One binary, because kube takes long to
//! link.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod coordinator;
mod daemon;
mod gc;
mod kill;
mod mortal;
mod networks;
mod pools;
mod steps;
mod subnets;
mod support;
mod tables;
mod webhooks;
mod wire;

use polynic_control_plane::on_a_real_server;

/// One control plane for all of it: to start one takes seconds.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    let modules = [
        coordinator::ON_A_REAL_SERVER,
        daemon::ON_A_REAL_SERVER,
        gc::ON_A_REAL_SERVER,
        kill::ON_A_REAL_SERVER,
        networks::ON_A_REAL_SERVER,
        pools::ON_A_REAL_SERVER,
        steps::ON_A_REAL_SERVER,
        subnets::ON_A_REAL_SERVER,
        tables::ON_A_REAL_SERVER,
        webhooks::ON_A_REAL_SERVER,
    ];
    on_a_real_server(&modules.concat());
}
