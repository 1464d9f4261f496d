//! Nodes as network namespaces on one wire, the real kernel between them, and real packets. Where the machine forbids namespaces, tests
//! say that they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod churn;
mod ipip;
mod iptables;
mod life;
mod mtu;
mod packets;
mod site;
mod wireguard;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}
