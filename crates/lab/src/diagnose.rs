//! Why namespaces cannot be made on this machine, and the one command that changes it.

use std::fs;
use std::io;

use rustix::io::Errno;

use crate::error::Error;

/// Settings of distributions that keep ordinary users from making namespaces, with the value that allows it.
const SWITCHES: [Switch; 3] = [
    Switch { key: "kernel.apparmor_restrict_unprivileged_userns", allows: |v| v == 0, set: "0" },
    Switch { key: "kernel.unprivileged_userns_clone", allows: |v| v != 0, set: "1" },
    Switch { key: "user.max_user_namespaces", allows: |v| v != 0, set: "15000" },
];

struct Switch {
    key: &'static str,
    allows: fn(i64) -> bool,
    set: &'static str,
}

/// The error for a user namespace that could not be made or filled in.
pub fn user_namespace(why: io::Error) -> Error {
    forbidden("make a user namespace", &why.to_string())
}

/// The error for the other namespaces. An AppArmor restriction shows only here: it takes the privileges away inside.
pub fn namespaces(errno: Errno) -> Error {
    forbidden("make network, mount and PID namespaces", &io::Error::from(errno).to_string())
}

/// The error for a fresh /proc that could not be mounted: containers often cover parts of theirs.
pub fn proc_mount(errno: Errno) -> Error {
    Error::Forbidden {
        what: "mount /proc for the lab".to_owned(),
        why: format!("{} (is this a container whose /proc is masked?)", io::Error::from(errno)),
        remedy: "run the container with: --security-opt systempaths=unconfined (docker, podman)".to_owned(),
    }
}

fn forbidden(what: &str, why: &str) -> Error {
    Error::Forbidden { what: what.to_owned(), why: why.to_owned(), remedy: remedy(read_setting) }
}

fn remedy(read: impl Fn(&str) -> Option<i64>) -> String {
    let closed = |switch: &&Switch| read(switch.key).is_some_and(|value| !(switch.allows)(value));
    match SWITCHES.iter().find(closed) {
        Some(switch) => format!("allow it with: sudo sysctl -w {}={}", switch.key, switch.set),
        None => "run it as root: sudo polynic-lab ... (in a container: --privileged)".to_owned(),
    }
}

fn read_setting(key: &str) -> Option<i64> {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_is_closed_is_the_one_named() {
        let apparmor = |key: &str| Some(if key.contains("apparmor") { 1 } else { 15000 });
        assert_eq!(
            remedy(apparmor),
            "allow it with: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        );
        let debian = |key: &str| key.ends_with("_clone").then_some(0);
        assert_eq!(remedy(debian), "allow it with: sudo sysctl -w kernel.unprivileged_userns_clone=1");
        let limit = |key: &str| (key == "user.max_user_namespaces").then_some(0);
        assert_eq!(remedy(limit), "allow it with: sudo sysctl -w user.max_user_namespaces=15000");
    }

    #[test]
    fn without_a_closed_switch_root_is_what_is_left() {
        assert!(remedy(|_| None).contains("root"));
    }
}
