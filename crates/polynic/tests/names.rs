//! The program under names of replaced ones, as far as it needs nothing but itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

fn called(name: &str, argument: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polynic"));
    command.arg0(format!("/opt/cni/bin/{name}")).arg(argument).env_clear().stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn version_flags_print_what_the_replaced_programs_print() {
    // The daemon ends with 4 (spec/multus.md 1).
    for (name, code) in [("multus", 0), ("multus-shim", 0), ("passthru", 0), ("multus-daemon", 4)] {
        for flag in ["-v", "-version", "--version"] {
            let Output { status, stdout, stderr } = called(name, flag);
            let text = String::from_utf8(stdout).unwrap();
            let own = concat!("version:v", env!("CARGO_PKG_VERSION"), "(released), commit:, date:\n");
            assert_eq!(text, format!("{name}: {own}"), "{name} {flag}");
            assert_eq!((status.code(), stderr.as_slice()), (Some(code), &b""[..]), "{name} {flag}");
        }
    }
}

#[test]
fn without_flag_and_command_plugins_say_what_they_are() {
    for name in ["multus", "multus-shim", "passthru"] {
        let Output { status, stdout, stderr } = called(name, "");
        let text = String::from_utf8(stderr).unwrap();
        assert!(text.contains(&format!("CNI {name} plugin")), "{name}: {text}");
        assert_eq!((status.code(), stdout.as_slice()), (Some(0), &b""[..]), "{name}");
    }
}
