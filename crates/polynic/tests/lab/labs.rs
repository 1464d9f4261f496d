//! Labs for one test, apart from those of other tests and of the user.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The lab's program and the nodes', as cargo built them for these tests.
const POLYNIC_LAB: &str = env!("CARGO_BIN_EXE_polynic-lab");
pub const POLYNIC: &str = env!("CARGO_BIN_EXE_polynic");

/// Labs of one test, in a runtime directory of their own.
pub struct Labs {
    runtime: tempfile::TempDir,
    polynic: PathBuf,
}

fn skip(why: &str) {
    let required = std::env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
    let insist = required.split(',').any(|tier| tier.trim() == "scenarios");
    assert!(!insist, "tier scenarios must run here: {why}");
    eprintln!("skipped: scenarios: {}", why.trim());
}

impl Labs {
    /// None, with a word about it, where labs cannot be had. Nodes come up with a program that does nothing for a plugin.
    pub fn new() -> Option<Labs> {
        Labs::with(PathBuf::from("/bin/true"))
    }

    /// Labs whose nodes have the real plugins.
    pub fn with_plugins() -> Option<Labs> {
        Labs::with(PathBuf::from(POLYNIC))
    }

    /// Not asked whether labs can be had.
    pub fn unchecked() -> Labs {
        Labs::of(PathBuf::from("/bin/true"))
    }

    fn of(polynic: PathBuf) -> Labs {
        Labs { runtime: tempfile::tempdir().unwrap(), polynic }
    }

    fn with(polynic: PathBuf) -> Option<Labs> {
        let labs = Labs::of(polynic);
        let up = labs.run(&["up", "--name", "probe"]);
        let words = text(&up.stderr);
        if !up.status.success() && words.contains("namespace") {
            skip(&words);
            return None;
        }
        assert!(up.status.success(), "{words}");
        labs.ok(&["down", "--name", "probe"]);
        Some(labs)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(POLYNIC_LAB);
        command.args(args).env("XDG_RUNTIME_DIR", self.runtime.path()).env("POLYNIC_BIN", &self.polynic);
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The directory of all labs of this test.
    pub fn root(&self) -> PathBuf {
        self.runtime.path().join("polynic-lab")
    }

    /// The lab's first process, as the machine numbers it.
    pub fn init(&self, lab: &str) -> String {
        let record = fs::read(self.root().join(lab).join("init.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        record["pid"].to_string()
    }

    /// The ids of all processes that have something of this test on their command line.
    pub fn processes(&self) -> Vec<String> {
        let needle = self.runtime.path().to_str().unwrap().to_owned();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ours = all.filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            entry.file_name().to_string_lossy().parse::<u32>().is_ok() && text(&line).contains(&needle)
        });
        ours.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    pub fn nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.runtime.path()).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "files");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes");
    }
}

/// A test that fails leaves no lab behind either.
impl Drop for Labs {
    fn drop(&mut self) {
        for lab in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            if let Some(name) = lab.file_name().to_str() {
                let _ = self.command(&["down", "--name", name]).output();
            }
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for what has to come, on a machine that has much else to do.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
