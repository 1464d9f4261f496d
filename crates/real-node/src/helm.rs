//! Helm, with which users install, upgrade and uninstall the chart.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::skip_tier;

/// The program, which `scripts/helm.sh` builds once.
#[derive(Clone, Debug)]
pub struct Helm(PathBuf);

impl Helm {
    /// Finds it, if it was built before: that takes minutes. If not, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// If `POLYNIC_REQUIRE_TIERS` names the tier `helm`, which forbids skipping.
    pub fn or_skip() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/helm.sh");
        let output = Command::new(script).env("POLYNIC_HELM", "built").output().ok()?;
        if output.status.success() {
            return Some(Self(String::from_utf8_lossy(&output.stdout).trim().into()));
        }
        skip_tier("helm", &format!("scripts/helm.sh: {}", String::from_utf8_lossy(&output.stderr).trim()));
        None
    }

    /// Where it is.
    pub fn program(&self) -> &PathBuf {
        &self.0
    }

    /// The chart of this repository with that name.
    pub fn chart(name: &str) -> String {
        format!("{}/../../deploy/chart/{name}", env!("CARGO_MANIFEST_DIR"))
    }
}
