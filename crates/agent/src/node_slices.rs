//! `node-slice-controller`: cuts ranges of whereabouts into slices for nodes (spec/whereabouts.md 7). It looks every few seconds: a node
//! that is new gets its slice before its first pod has an image.

use std::time::Duration;

use polynic_cluster::whereabouts::{Sliced, slice};
use polynic_runtime::configuration::Environment;

use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};
use crate::whereabouts::{self, Arguments};

/// The replaced program.
pub const NAME: &str = "node-slice-controller";

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) const USAGE: &str = "node-slice-controller [-kubeconfig FILE] [-log-level LEVEL]";

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
    let mut said = Vec::new();
    loop {
        match surroundings.shutdown.unless(slice(client.clone(), &namespace)).await {
            None => return Ok(()),
            Some(Ok(sliced)) => say(sliced, &mut said),
            Some(Err(why)) => tracing::warn!(why, "ranges are not cut into slices now"),
        }
        if surroundings.shutdown.unless(tokio::time::sleep(INTERVAL)).await.is_none() {
            return Ok(());
        }
    }
}

/// A problem is said when it comes up, not every few seconds.
fn say(sliced: Sliced, said: &mut Vec<String>) {
    for pool in &sliced.changed {
        tracing::info!(pool, "slices of nodes are written");
    }
    for problem in sliced.problems.iter().filter(|problem| !said.contains(problem)) {
        tracing::warn!(problem, "a range is not cut as asked");
    }
    *said = sliced.problems;
}

fn read(words: &[String]) -> Result<Arguments, CommandError> {
    Arguments::read(words, USAGE, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_understood() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            read(&words).map_err(|why| why.to_string())
        };
        let expected = Arguments { kubeconfig: Some("/k".into()), log_level: "debug".into() };
        assert_eq!(read(&["-kubeconfig", "/k", "--log-level=debug"]), Ok(expected));
        assert!(read(&["-verbose"]).unwrap_err().contains("-verbose"));
    }

    #[test]
    fn a_problem_is_said_once() {
        let problem = || Sliced { changed: Vec::new(), problems: vec!["lan: no".to_owned()] };
        let mut said = Vec::new();
        say(problem(), &mut said);
        assert_eq!(said, problem().problems);
        say(Sliced::default(), &mut said);
        assert_eq!(said, Vec::<String>::new());
    }
}
