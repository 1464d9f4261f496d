//! The one door to the kernel.
//!
//! [`Door`] opens the two namespaces of an attachment as a [`Kernel`], which observes facts and applies single
//! changes. A transaction applies whole plans and takes them back. Nothing here knows what a CNI
//! plugin, a pod or a policy is.

mod bus;
pub mod capture;
mod door;
mod events;
pub mod fake;
pub mod inherited;
pub mod memory;
mod netlink;
pub mod netns;
mod nft;
mod probe;
mod real;
pub mod rooted;
pub mod sandbox;
pub mod survey;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transaction;
mod udp_frames;

pub use capture::Capture;
pub use door::{Door, Errno, Kernel, KernelError, NetnsId, OpenError};
pub use events::NetworkEvents;
pub use fake::{FakeDoor, FakeKernel, Setup, Snapshot};
pub use real::{RealDoor, RealKernel};
pub use transaction::{Applied, ApplyError};
pub use udp_frames::UdpFrames;

/// Unit tests that need the real kernel use `testing::scratch_netns`, like those in `tests/`.
#[cfg(test)]
#[ctor::ctor(unsafe)]
fn private_namespaces() {
    testing::enter_before_main();
}
