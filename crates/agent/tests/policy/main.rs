//! Network policies with real packets: tables as they are rendered, and the service between an API server and pods' namespaces. Where the
//! machine forbids namespaces, tests say that they are skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod edits;
mod lan;
mod packets;
mod sctp;
mod service;
mod world;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}

/// A server for each: it must be where the test is.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    polynic_control_plane::each_on_a_real_server(service::ON_A_REAL_SERVER);
}
