//! Command lines: of one service under the name of what it replaces, or of the whole agent.
//!
//! `polynic agent` takes command lines of services, separated by `--`, each with its replaced name first:
//! `polynic agent spiderpool-agent daemon --config-path=F -- multus-daemon -config G`. Without any it runs every service whose
//! configuration lies at its default place. Options alone are those of `spiderpool-agent`.

use polynic_runtime::Shutdown;
use polynic_runtime::configuration::Environment;
use polynic_runtime::log;

use crate::error::CommandError;
use crate::part::Part;
use crate::{addresses, cni, compose, dhcp, flannel, ip_reconciler, node_slices, policy};

/// A service that the agent can run.
struct Known {
    /// The replaced program.
    name: &'static str,
    /// How it is called, without the word "usage".
    usage: &'static str,
    /// Reads its command line without the name.
    part: fn(&[String], Environment<'_>) -> Result<Part, CommandError>,
    /// Whether a bare `polynic agent` runs it.
    is_configured: fn() -> bool,
}

/// Every service. A new one takes a line here.
const SERVICES: &[Known] = &[
    Known {
        name: addresses::command::NAME,
        usage: addresses::command::USAGE,
        part: addresses::command::part,
        is_configured: addresses::command::is_configured,
    },
    Known {
        name: policy::command::NAME,
        usage: policy::command::USAGE,
        part: policy::command::part,
        is_configured: policy::command::is_configured,
    },
    Known {
        name: policy::command::OLD_NAME,
        usage: policy::command::USAGE,
        part: policy::command::part,
        is_configured: policy::command::is_configured,
    },
    Known {
        name: cni::command::NAME,
        usage: cni::command::USAGE,
        part: cni::command::part,
        is_configured: cni::command::is_configured,
    },
    Known {
        name: flannel::command::NAME,
        usage: flannel::command::USAGE,
        part: flannel::command::part,
        is_configured: flannel::command::is_configured,
    },
    Known { name: dhcp::NAME, usage: dhcp::USAGE, part: dhcp::part, is_configured: dhcp::is_configured },
    Known {
        name: ip_reconciler::NAME,
        usage: ip_reconciler::USAGE,
        part: ip_reconciler::part,
        is_configured: ip_reconciler::is_configured,
    },
    Known {
        name: node_slices::NAME,
        usage: node_slices::USAGE,
        part: node_slices::part,
        is_configured: node_slices::is_configured,
    },
];

/// The names of all services.
pub fn services() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|known| known.name)
}

/// How the agent is called.
const AGENT: &str = "polynic agent [SERVICE [FLAG...] [-- SERVICE [FLAG...]]...]
  Without a service: every one whose configuration lies at its default place. \"polynic agent SERVICE --help\" lists a service's flags. Services:";

/// What a command line that asks for help is to be told: of one service, or (by no name) of the agent.
pub fn help(name: Option<&str>) -> String {
    match SERVICES.iter().find(|known| Some(known.name) == name) {
        Some(known) => format!("usage: {}\n", known.usage),
        None => services().fold(format!("usage: {AGENT}\n"), |text, name| format!("{text}    {name}\n")),
    }
}

/// Whether a command line asks for help, in the spelling of any of the replaced programs.
pub fn asks_for_help(words: &[String]) -> bool {
    words.iter().any(|word| ["-h", "-help", "--help"].contains(&word.as_str()))
}

/// Whether there is a service of this name.
pub fn is_service(name: &str) -> bool {
    SERVICES.iter().any(|known| known.name == name)
}

/// Runs one service until a signal ends it. `seed` spreads the retries of agents: two must not have the same.
///
/// # Errors
/// The service is unknown, its configuration is wrong, or it ended badly.
pub fn run(
    name: &str,
    words: &[String],
    environment: Environment<'_>,
    seed: u64,
) -> Result<(), CommandError> {
    serve(vec![part(name, words, environment)?], seed)
}

/// Runs everything that a command line of `polynic agent` asks for, until a signal ends it.
///
/// # Errors
/// As [`run`].
pub fn run_agent(words: &[String], environment: Environment<'_>, seed: u64) -> Result<(), CommandError> {
    serve(parts(words, environment)?, seed)
}

fn parts(words: &[String], environment: Environment<'_>) -> Result<Vec<Part>, CommandError> {
    if words.is_empty() {
        let configured = SERVICES.iter().filter(|known| (known.is_configured)());
        let parts: Vec<Part> =
            configured.map(|known| (known.part)(&[], environment)).collect::<Result<_, _>>()?;
        return if parts.is_empty() { Err(nothing()) } else { Ok(parts) };
    }
    let lines = words.split(|word| word == "--").filter(|line| !line.is_empty());
    lines.map(|line| line_part(line, environment)).collect()
}

fn line_part(line: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    match line {
        [first, ..] if first == "daemon" || first.starts_with('-') => {
            part(addresses::command::NAME, line, environment)
        }
        [name, words @ ..] => part(name, words, environment),
        [] => Err(nothing()),
    }
}

fn part(name: &str, words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let known = SERVICES.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| CommandError::Service { name: name.to_owned(), known: names() })?;
    (known.part)(words, environment)
}

fn nothing() -> CommandError {
    CommandError::Nothing { known: names() }
}

fn names() -> String {
    SERVICES.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

fn serve(parts: Vec<Part>, seed: u64) -> Result<(), CommandError> {
    polynic_kernel::memory::share_one_heap();
    polynic_cni::log_file::compress_aside();
    log::start(compose::log_level(&parts))?;
    // One thread is enough for a node, and the smallest agent.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(async {
        let signal = Shutdown::by_signal().map_err(CommandError::Runtime)?;
        compose::run(parts, seed, signal).await?;
        tracing::info!("the agent has ended");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let environment = |name: &str| (name == "SPIDERPOOL_NODE_NAME").then(|| "n1".to_owned());
        let parts = parts(&words, &environment).map_err(|why| why.text())?;
        Ok(parts.iter().map(|part| part.name).collect())
    }

    #[test]
    fn command_lines_of_services_stand_side_by_side() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let option = format!("--config-path={}", file.path().display());
        assert_eq!(names_of(&["spiderpool-agent", "daemon", &option]), Ok(vec!["spiderpool-agent"]));
        assert_eq!(names_of(&["daemon", &option]), Ok(vec!["spiderpool-agent"]));
        assert_eq!(names_of(&[&option]), Ok(vec!["spiderpool-agent"]));
        assert_eq!(names_of(&[&option, "--", &option]).unwrap().len(), 2);
    }

    #[test]
    fn every_service_says_how_it_is_called_and_the_agent_what_there_is() {
        for known in SERVICES {
            let help = help(Some(known.name));
            assert!(help.starts_with("usage: ") && help.contains(" [-"), "{}: {help}", known.name);
            assert!(super::help(None).contains(known.name));
        }
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(asks_for_help(&words("--iface=eth1 --help")) && asks_for_help(&words("-h")));
        assert!(!asks_for_help(&words("daemon --config-path=/help")));
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(
            names_of(&["router"])
                .unwrap_err()
                .contains("unknown service \"router\"; there are spiderpool-agent")
        );
        assert!(names_of(&["--config-path=/nowhere"]).unwrap_err().contains("/nowhere"));
    }
}
