//! `ip-reconciler`: gives back what pods left of whereabouts' addresses (spec/whereabouts.md 8). Once a minute, whatever schedule the replaced
//! program was given: a node that was lost must not hold addresses until half past four in the morning.

use std::time::Duration;

use polynic_cluster::whereabouts::collect;
use polynic_runtime::configuration::Environment;

use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};
use crate::whereabouts::{self, Arguments};

/// The replaced program.
pub const NAME: &str = "ip-reconciler";

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

pub(crate) const USAGE: &str = "ip-reconciler [-kubeconfig FILE] [-log-level LEVEL] [-timeout SECONDS]";

/// It has no configuration; whoever wants it names it.
pub(crate) fn is_configured() -> bool {
    false
}

/// Reads the command line. The objects are in the namespace that `WHEREABOUTS_NAMESPACE` names.
///
/// # Errors
/// A word is none of the replaced program's.
pub(crate) fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let arguments = read(words)?;
    let namespace = whereabouts::namespace(environment);
    Ok(Part {
        name: NAME,
        stage: Stage::First,
        kubeconfig: arguments.kubeconfig,
        log_level: arguments.log_level,
        run: Box::new(|surroundings| Box::pin(run(namespace, surroundings))),
    })
}

async fn run(namespace: String, surroundings: Surroundings) -> Result<(), Failure> {
    let client = surroundings.client.ok_or_else(Failure::no_cluster)?;
    loop {
        match surroundings.shutdown.unless(collect(client.clone(), &namespace)).await {
            None => return Ok(()),
            Some(Ok(collected)) => {
                for what in collected.allocations.iter().chain(&collected.reservations) {
                    tracing::info!(what, "an address whose pod is gone is free again");
                }
            }
            Some(Err(why)) => tracing::warn!(why, "addresses of pods that are gone are not collected now"),
        }
        if surroundings.shutdown.unless(tokio::time::sleep(INTERVAL)).await.is_none() {
            return Ok(());
        }
    }
}

fn read(words: &[String]) -> Result<Arguments, CommandError> {
    // Each request has its own limit.
    Arguments::read(words, USAGE, &["timeout"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replaced_programs_command_line_is_understood() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            read(&words).map_err(|why| why.to_string())
        };
        let expected = Arguments { kubeconfig: Some("/k".into()), log_level: "debug".into() };
        assert_eq!(read(&["-kubeconfig", "/k", "--log-level=debug", "-timeout", "30"]), Ok(expected));
        assert!(read(&["-verbose"]).unwrap_err().contains("-verbose"));
    }
}
