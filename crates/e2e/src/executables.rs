//! The program under test, built from this tree, and the plugins it is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use polynic_kernel::testing::say_skipped;

/// Where Debian's `containernetworking-plugins` has its executables.
const REFERENCE: &str = "/usr/lib/cni";

/// Crates whose sources do not end up in the program.
const TOOLS: [&str; 5] = ["bench", "control-plane", "e2e", "real-node", "xtask"];

/// A directory with our plugins, installed by the program itself. Built first if the program is missing or older than its
/// sources; once for each test process.
///
/// # Panics
/// The build or the installation fails.
pub fn plugins() -> &'static str {
    static DIRECTORY: OnceLock<String> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let target = target_directory();
        let program = target.join("polynic");
        if is_outdated(&program) {
            build(&target);
        }
        // Beside the program, so that the plugins are hard links and not copies; elsewhere if that is somebody else's directory.
        let places = [target.join("e2e-plugins"), std::env::temp_dir().join("polynic-e2e-plugins")];
        let directory = places.iter().find(|directory| install(&program, directory));
        let directory = directory.expect("polynic can be installed");
        directory.to_str().expect("the target directory's path is text").to_owned()
    })
}

fn install(program: &Path, directory: &Path) -> bool {
    Command::new(program).arg("install").arg(directory).status().expect("polynic can be started").success()
}

/// The directory of the reference plugins; nothing, and a loud word, if they are not installed.
pub fn reference_plugins() -> Option<&'static str> {
    if Path::new(REFERENCE).join("macvlan").exists() {
        return Some(REFERENCE);
    }
    say_skipped(&format!("no reference plugins in {REFERENCE} (Debian: containernetworking-plugins)"));
    None
}

/// `target/<profile>`: the test binary lies in its `deps`.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).expect("a test binary lies in target/<profile>/deps").to_owned()
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in crates/").to_owned()
}

fn is_outdated(program: &Path) -> bool {
    let Ok(built) = program.metadata().and_then(|m| m.modified()) else { return true };
    let rooms = std::fs::read_dir(crates()).unwrap().map(|room| room.unwrap().path());
    let mut built_from = rooms.filter(|room| !TOOLS.iter().any(|tool| room.ends_with(tool)));
    built_from.any(|room| newest(&room.join("src")) > built)
}

fn newest(directory: &Path) -> SystemTime {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let times = entries.filter_map(|entry| match entry.file_type().ok()?.is_dir() {
        true => Some(newest(&entry.path())),
        false => entry.metadata().and_then(|m| m.modified()).ok(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Without the network: this process is in a private one, and what the tests needed is downloaded already.
fn build(target: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--offline", "-p", "polynic", "--bin", "polynic"]).current_dir(crates());
    if target.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo can be started").success(), "cargo build -p polynic failed");
}
