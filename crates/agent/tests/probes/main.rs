//! What the `spiderpool` plugin asks and tells the network, with real packets: a node on a wire, an agent on its socket, an API server.
//! Where the machine forbids namespaces, tests say that they are skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod packets;
#[path = "../agent/world.rs"]
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod world;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}
