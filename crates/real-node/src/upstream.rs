//! The replaced programs themselves, and the manifests that are published with them.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::skip_tier;

/// What `scripts/upstream.sh` has in the cache.
#[derive(Clone, Debug)]
pub struct Upstream {
    directory: PathBuf,
}

impl Upstream {
    /// Finds it, or has it made. If that is not possible, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// If `POLYNIC_REQUIRE_TIERS` names the tier `upstream`, which forbids skipping.
    pub fn or_skip() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/upstream.sh");
        let output = Command::new(script).output().ok()?;
        let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Some(Self { directory: directory.into() });
        }
        skip_tier(
            "upstream",
            &format!("scripts/upstream.sh: {}", String::from_utf8_lossy(&output.stderr).trim()),
        );
        None
    }

    /// A program of Multus: `multus`, `multus-shim`, `multus-daemon`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// A published manifest.
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.directory.join("manifests").join(name)
    }
}
