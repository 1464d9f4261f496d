//! What a room must not take from its surroundings: child processes, unsafe code, and in `plugins` also the environment, standard
//! output and the end of the process. An invocation comes in as a value, and a result goes out as one.

use super::tree::File;

/// A text that may stand in the product code of some rooms only.
struct Ban {
    text: &'static str,
    applies: fn(&str) -> bool,
    why: &'static str,
}

/// The rooms that start programs: foreign CNI plugins, the machine's tools for `exec`, developer tasks.
const STARTS_PROCESSES: [&str; 7] = ["cni", "lab", "xtask", "control-plane", "e2e", "real-node", "bench"];

const BANS: [Ban; 7] = [
    Ban {
        text: "Command::new",
        applies: starts_no_processes,
        why: "no child processes outside of cni, lab and tools",
    },
    Ban { text: "allow(unsafe_code", applies: is_safe, why: "unsafe code lives in kernel" },
    Ban { text: "std::env::", applies: is_plugins, why: "the environment comes in with the invocation" },
    Ban { text: "env::var", applies: is_plugins, why: "the environment comes in with the invocation" },
    Ban { text: "process::exit", applies: is_plugins, why: "only the binary ends the process" },
    Ban { text: "println!", applies: is_plugins, why: "the result is returned, the binary prints it" },
    Ban { text: "io::stdout", applies: is_plugins, why: "the result is returned, the binary prints it" },
];

fn starts_no_processes(room: &str) -> bool {
    !STARTS_PROCESSES.contains(&room)
}

/// Every room but `kernel`; xtask is left out because the text stands in this file.
fn is_safe(room: &str) -> bool {
    !["kernel", "xtask"].contains(&room)
}

fn is_plugins(room: &str) -> bool {
    room == "plugins"
}

pub(super) fn problems(file: &File) -> Vec<String> {
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| (ban.applies)(file.room())).collect();
    let code = file.product_lines().into_iter().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(number, line)| {
        let broken = bans.iter().filter(move |ban| line.contains(ban.text));
        broken.map(move |ban| format!("{}:{number}: {}: {}", file.path, ban.text, ban.why))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        problems(&File { path: path.into(), text: text.into(), is_test: false }).len()
    }

    #[test]
    fn processes_start_in_few_rooms() {
        let text = "let child = std::process::Command::new(\"ip\");\n";
        assert_eq!(found("crates/kernel/src/a.rs", text), 1);
        assert_eq!(found("crates/cni/src/exec.rs", text), 0);
    }

    #[test]
    fn unsafe_code_is_allowed_in_kernel_alone() {
        let text = "#![allow(unsafe_code, reason = \"speed\")]\n";
        assert_eq!(found("crates/lab/src/a.rs", text), 1);
        assert_eq!(found("crates/kernel/src/a.rs", text), 0);
    }

    #[test]
    fn plugins_use_nothing_ambient() {
        let text = "let path = std::env::args();\nprocess::exit(1);\n";
        assert_eq!(found("crates/plugins/src/a.rs", text), 2);
        assert_eq!(found("crates/polynic/src/main.rs", text), 0);
    }

    #[test]
    fn comments_and_tests_may_speak_of_it() {
        let text =
            "/// Like `Command::new`.\n#[cfg(test)]\nmod tests {\n    fn a() { Command::new(\"ip\"); }\n}\n";
        assert_eq!(found("crates/kernel/src/a.rs", text), 0);
    }
}
