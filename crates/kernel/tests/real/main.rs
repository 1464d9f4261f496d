//! The real kernel behind the door, each test in namespaces of its own. Where the machine forbids namespaces, tests say that
//! they are skipped; with `POLYNIC_REQUIRE_TIERS=netns` they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod addresses;
mod attributes;
mod deletion;
mod destinations;
mod firewall;
mod forwarding;
mod links;
mod namespaces;
mod observation;
mod probes;
mod routes;
mod rules;
mod support;
mod sysctls;
mod traffic;
mod waits;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}
