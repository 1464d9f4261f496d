//! Link types that not every kernel has, and the kernel that has them all.

use std::process::Command;

use polynic_kernel::testing::say_skipped;

use crate::Node;
use crate::node::try_ip;

/// Set within the throw-away kernel, where nothing may be skipped.
const INSIDE: &str = "POLYNIC_IN_VM";

impl Node {
    /// Whether this kernel can make links of these types, given as `ip link add` has them. If not: the test is left to the
    /// throw-away kernel (see [`run_in_vm`]), or skipped where there is none.
    ///
    /// # Panics
    /// Inside the throw-away kernel, which has every type.
    pub fn offers(&self, types: &[&str]) -> bool {
        let Some(missing) = types.iter().find(|kind| !self.makes(kind)) else { return true };
        left_to_vm(&format!("{missing:?}"));
        false
    }

    /// Whether this kernel has a queueing discipline. If not: as with [`Node::offers`].
    ///
    /// # Panics
    /// Inside the throw-away kernel, which has it.
    pub fn has_qdisc(&self, kind: &'static str) -> bool {
        let made = self.netns().run(move || {
            let run =
                |verb: &str| Command::new("tc").args(["qdisc", verb, "dev", "lo", "root", kind]).output();
            let made = run("add").is_ok_and(|output| output.status.success());
            made && run("delete").is_ok_and(|output| output.status.success())
        });
        let made = made.unwrap_or_default();
        if !made {
            left_to_vm(kind);
        }
        made
    }

    fn makes(&self, kind: &str) -> bool {
        // `link PARENT` comes before the name.
        let words = match kind.strip_prefix("link ") {
            Some(rest) => format!("link add link {}", rest.replacen(" type", " name probe0 type", 1)),
            None => format!("link add probe0 {kind}"),
        };
        let run = |line: &str| try_ip(self.netns(), line).is_ok();
        run(&words) && run("link delete probe0")
    }
}

/// A test of something that this kernel lacks is left to the throw-away kernel, which has it, or skipped where there is none.
///
/// # Panics
/// Inside the throw-away kernel.
pub fn left_to_vm(what: &str) {
    assert!(std::env::var_os(INSIDE).is_none(), "the throw-away kernel lacks {what}");
    if runner().is_none() {
        say_skipped(&format!("this kernel has no {what}, and POLYNIC_UML_RUNNER names no other"));
    }
}

fn runner() -> Option<String> {
    std::env::var("POLYNIC_UML_RUNNER").ok().filter(|runner| !runner.is_empty())
}

/// Runs the tests of this test binary whose names contain one of `names` in the throw-away kernel. They must all pass, and
/// there must be some. Says that it is skipped where there is no such kernel.
///
/// # Panics
/// A test fails there, or the tier `vm` is required and cannot run.
pub fn run_in_vm(names: &[&str]) {
    if std::env::var_os(INSIDE).is_none() && runner().is_some() {
        // Built out here: the throw-away kernel has one processor.
        crate::plugins();
    }
    run_bare_in_vm(names);
}

/// As [`run_in_vm`], in a kernel that was booted with these arguments besides.
///
/// # Panics
/// As [`run_in_vm`].
pub fn run_in_vm_booted_with(arguments: &str, names: &[&str]) {
    if std::env::var_os(INSIDE).is_none() && runner().is_some() {
        crate::plugins();
    }
    // The runner hands on to the kernel what it is told of memory, word for word. The tests see whether it does.
    boot(&format!("1G {arguments}"), names);
}

/// The same for tests that execute no plugins.
///
/// # Panics
/// As [`run_in_vm`].
pub fn run_bare_in_vm(names: &[&str]) {
    boot("1G", names);
}

fn boot(memory: &str, names: &[&str]) {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let Some(runner) = runner() else {
        let required = std::env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
        assert!(!required.split(',').any(|tier| tier.trim() == "vm"), "tier vm is required");
        say_skipped("POLYNIC_UML_RUNNER names no kernel with every link type");
        return;
    };
    let output = Command::new(&runner)
        .env(INSIDE, "1")
        .args(["-m", memory, "-t", "280", "--"])
        .arg(std::env::current_exe().expect("a test binary has a path"))
        .args(["--test-threads=1", "--show-output"])
        .args(names)
        .output()
        .unwrap_or_else(|e| panic!("{runner}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text.lines().find(|line| line.starts_with("test result: ok."));
    assert!(output.status.success() && passed.is_some_and(|line| !line.contains(" 0 passed")), "{text}");
    assert!(!text.contains("skipped:"), "{text}");
}
