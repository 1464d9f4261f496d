//! The daemon in real namespaces, with real servers: dnsmasq and busybox's udhcpd, and with the replaced plugin and daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod alone;
mod crowd;
mod interop;
mod leases;
mod trouble;
mod world;

#[ctor::ctor(unsafe)]
fn private_namespaces() {
    polynic_kernel::testing::enter_before_main();
}
