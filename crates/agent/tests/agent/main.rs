//! The agent against an API server: over its socket, as plugins call it.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod answers;
mod away;
mod crowd;
mod fixed;
mod interfaces;
mod kill;
mod machines;
mod pools;
mod site;
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod world;

/// One control plane for all of it: to start one takes seconds.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    let modules = [
        answers::ON_A_REAL_SERVER,
        crowd::ON_A_REAL_SERVER,
        fixed::ON_A_REAL_SERVER,
        interfaces::ON_A_REAL_SERVER,
        kill::ON_A_REAL_SERVER,
        machines::ON_A_REAL_SERVER,
        pools::ON_A_REAL_SERVER,
    ];
    polynic_control_plane::on_a_real_server(&modules.concat());
}
