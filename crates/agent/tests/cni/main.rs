//! The CNI endpoint with the real kernel and an API server, asked through the shim as a container runtime asks.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../agent/world.rs"]
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod api;
mod calls;
mod crowd;
mod hung;
mod kill;
mod node;
mod plug;
mod pools;
mod proxy;
mod trouble;

/// Namespaces of our own for all tests. The agent as a process of its own stays in those of the test that starts it.
#[ctor::ctor(unsafe)]
fn private_namespaces() {
    if std::env::var_os(node::CHILD).is_none() {
        polynic_kernel::testing::enter_before_main();
    }
}

/// One control plane for all of it: to start one takes seconds.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    let modules = [
        calls::ON_A_REAL_SERVER,
        crowd::ON_A_REAL_SERVER,
        hung::ON_A_REAL_SERVER,
        kill::ON_A_REAL_SERVER,
        plug::ON_A_REAL_SERVER,
        pools::ON_A_REAL_SERVER,
        trouble::ON_A_REAL_SERVER,
    ];
    polynic_control_plane::on_a_real_server(&modules.concat());
}
