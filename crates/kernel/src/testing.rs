//! For tests against the real kernel: private namespaces for the test binary, and a pair of namespaces for each test.
//!
//! A test binary calls [`enter_before_main`] from a constructor, and each test starts with [`scratch_netns`]:
//!
//! ```ignore
//! #[ctor::ctor(unsafe)]
//! fn private() {
//!     polynic_kernel::testing::enter_before_main();
//! }
//!
//! #[test]
//! fn something_about_the_kernel() {
//!     let Some(scratch) = polynic_kernel::testing::scratch_netns() else { return };
//!     let mut kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
//! }
//! ```

use std::cell::Cell;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, mount};

use crate::netns::{self, Host, Netns, Pod};
use crate::sandbox::{Options, enter_private};

/// Why this process has no private namespaces; absent if it has.
static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();

/// Two namespaces of one test. The test's thread is inside the host-like one.
pub struct Scratch {
    /// The one that the test's thread is in.
    pub host: Netns<Host>,
    /// The other one.
    pub pod: Netns<Pod>,
    /// Path of the other one, fit for `CNI_NETNS`.
    pub path: String,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The mounts are private to the process: what is left goes with it.
        let _ = netns::unpin(&PathBuf::from(&self.path));
    }
}

/// What netlink has answered to the calling thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Messages, of which lists have one for each entry.
    pub messages: usize,
    /// Bytes.
    pub bytes: usize,
}

thread_local! {
    static RECEIVED: Cell<Received> = const { Cell::new(Received { messages: 0, bytes: 0 }) };
}

/// How much the kernel has told the calling thread so far: what an observation costs, whatever the machine does meanwhile.
pub fn received() -> Received {
    RECEIVED.get()
}

pub(crate) fn count(messages: usize, bytes: usize) {
    let before = RECEIVED.get();
    RECEIVED.set(Received { messages: before.messages + messages, bytes: before.bytes + bytes });
}

/// Moves the test binary into private namespaces. Must run before `main`, while there is one thread; failure is
/// remembered for [`scratch_netns`].
pub fn enter_before_main() {
    let options = Options { loopback: true, ..Options::default() };
    let outcome = enter_private(options).map_err(|e| e.to_string());
    if outcome.is_ok() {
        // What writes logs by default is not to write the machine's.
        let _ = mount("tmpfs", "/var/log", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None);
    }
    let _ = OUTCOME.set(outcome);
}

/// Gives the calling test two fresh namespaces and moves its thread into the first one. Nothing if this machine forbids it:
/// then says why, and the test should return; but where the environment variable `POLYNIC_REQUIRE_TIERS` names the tier
/// `netns` it panics, so that CI cannot pass by skipping.
///
/// # Panics
/// As said, and if the binary has not called [`enter_before_main`].
pub fn scratch_netns() -> Option<Scratch> {
    let outcome = OUTCOME.get().cloned().unwrap_or_else(|| Err("enter_before_main was not called".into()));
    match outcome.and_then(|()| make().map_err(|e| e.to_string())) {
        Ok(scratch) => Some(scratch),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

/// Says that the calling test cannot run for want of namespaces, or fails where the tier is required (see
/// [`scratch_netns`]).
fn skip(why: &str) {
    let required = std::env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
    assert!(!required.split(',').any(|t| t.trim() == "netns"), "tier netns is required but {why}");
    say_skipped(why);
}

/// Says that the calling test is skipped because this machine lacks something. Printed past the capture of test output: what
/// is not tested must be seen.
pub fn say_skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

fn make() -> std::io::Result<Scratch> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let host = Netns::<Host>::create()?;
    host.enter()?;
    let path = format!("/run/netns/test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let pod = netns::create_pinned(&PathBuf::from(&path))?;
    Ok(Scratch { host, pod, path })
}
