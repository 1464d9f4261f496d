//! CNI's reference library as a client: what a container runtime newer than the one of the distribution asks of plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::space::Space;
use crate::tools::skip;

/// The library behind a program of its own, which `scripts/libcni.sh` builds once.
#[derive(Debug)]
pub struct Libcni {
    program: PathBuf,
}

impl Libcni {
    /// Finds the program. If it is missing, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// If `POLYNIC_REQUIRE_TIERS` names the tier `node`, which forbids skipping.
    pub fn or_skip() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/libcni.sh");
        let output = Command::new(script).output().ok()?;
        let program = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Some(Self { program: program.into() });
        }
        skip(&format!("scripts/libcni.sh: {}", String::from_utf8_lossy(&output.stderr).trim()));
        None
    }

    /// Makes one call in a machine: verb, configuration list, cache, and what else the verb takes.
    ///
    /// # Errors
    /// CNI's error object.
    ///
    /// # Panics
    /// What is printed is no JSON.
    pub fn call(&self, space: &Space, verb: &str, list: &Path, more: &[&str]) -> Result<Value, Value> {
        let cache = space.directory().join("libcni");
        self.call_with(space, verb, list, &cache, more)
    }

    /// The same with a cache of its own: the library takes care of what it knows by itself, and leaves the rest to the plugins.
    ///
    /// # Errors
    /// CNI's error object.
    ///
    /// # Panics
    /// What is printed is no JSON.
    pub fn call_with(
        &self,
        space: &Space,
        verb: &str,
        list: &Path,
        cache: &Path,
        more: &[&str],
    ) -> Result<Value, Value> {
        let mut command = space.command(&self.program);
        command.arg(verb).arg(list).arg(cache).args(more).env("CNI_PATH", polynic_e2e::plugins());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let value = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|why| panic!("{verb}: {why}: {text}")),
        };
        if output.status.success() { Ok(value) } else { Err(value) }
    }
}
