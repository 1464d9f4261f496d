//! Whether this machine can run containers for a test.

use std::env;
use std::path::{Path, PathBuf};
use std::{fs, process};

use polynic_kernel::testing::say_skipped;

/// Programs of the system that a node needs.
const NEEDED: [&str; 7] = ["containerd", "ctr", "runc", "ip", "nft", "unshare", "nsenter"];

/// Proof that a node can be made here.
#[derive(Clone, Copy, Debug)]
pub struct Tools(());

impl Tools {
    /// Looks for what a node needs. If something is missing, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// If `POLYNIC_REQUIRE_TIERS` names the tier `node`, which forbids skipping.
    pub fn or_skip() -> Option<Self> {
        match missing() {
            None => Some(Self(())),
            Some(why) => {
                skip(&why);
                None
            }
        }
    }
}

impl Tools {
    /// Looks for one more program, which only the calling test needs; where it is missing, the test is skipped and nothing insists.
    pub fn program_or_skip(self, program: &str) -> Option<Self> {
        if find(program).is_none() {
            say_skipped(&format!("there is no {program} (Debian: {program}): run scripts/setup.sh test"));
            return None;
        }
        Some(self)
    }
}

/// Says that the calling test cannot run, or fails where the tier is required.
pub(crate) fn skip(why: &str) {
    skip_tier("node", why);
}

/// The same for another tier.
pub(crate) fn skip_tier(tier: &str, why: &str) {
    let required = env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
    assert!(!required.split(',').any(|named| named.trim() == tier), "the tier {tier} must run: {why}");
    say_skipped(why);
}

/// Finds a program of the system. Debian's `runc` and `ip` are where an ordinary user's PATH does not lead.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn missing() -> Option<String> {
    if !is_root_of_the_machine() {
        return Some("a container runtime needs root, and not that of a user namespace".to_owned());
    }
    if !Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Some("there are no control groups in /sys/fs/cgroup".to_owned());
    }
    let absent = NEEDED.iter().find(|program| find(program).is_none())?;
    Some(format!(
        "there is no {absent} (Debian: containerd, runc, iproute2, nftables): run scripts/setup.sh test"
    ))
}

/// Root, and every user id is mapped to itself.
fn is_root_of_the_machine() -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process::id())).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    is_whole && uids.split_whitespace().all(|uid| uid == "0")
}
