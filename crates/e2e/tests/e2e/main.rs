//! The executables on the real kernel, called as a container runtime calls them, each test with machines of its own. Where
//! the machine forbids namespaces, tests say that they are skipped; with `POLYNIC_REQUIRE_TIERS=netns` they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

mod bandwidth;
mod bridge;
mod calico_like;
mod card;
mod chained;
mod crowd;
mod dhcp;
mod differential;
mod errors;
mod firewall;
mod host_device;
mod ifacer;
mod ipam;
mod kill;
mod life;
mod loopback;
mod macvlan;
mod mixed;
mod portmap;
mod ptp;
mod renamed;
mod results;
mod routing;
mod sriov;
mod stations;
mod without_ipv6;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}
