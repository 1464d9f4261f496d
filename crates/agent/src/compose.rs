//! Services of the agent, run side by side in one process: each gets a client, its time to end, and what others offer in-process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use polynic_cluster::{ConnectError, client_from};
use polynic_runtime::Shutdown;
use tokio::task::JoinSet;

use crate::error::{CommandError, Failure};
use crate::part::{Links, Part, Stage, Surroundings};

/// The most talkative level that a part asks for.
pub(crate) fn log_level(parts: &[Part]) -> &str {
    const TALKATIVE: [&str; 6] = ["debug", "info", "", "warn", "warning", "error"];
    let rank = |level: &str| {
        TALKATIVE.iter().position(|known| known.eq_ignore_ascii_case(level)).unwrap_or(TALKATIVE.len())
    };
    parts.iter().map(|part| part.log_level.as_str()).min_by_key(|level| rank(level)).unwrap_or_default()
}

/// Runs all parts until `signal`, or until one of them fails: then all end, and that failure is answered.
///
/// # Errors
/// Credentials that cannot be used, and the first failure of a part.
pub async fn run(parts: Vec<Part>, seed: u64, signal: Shutdown) -> Result<(), CommandError> {
    let clients = clients(&parts).await?;
    let links = Arc::new(Links::default());
    let last = Shutdown::default();
    let (mut asking, mut serving) = (JoinSet::new(), JoinSet::new());
    for part in parts {
        let (tasks, shutdown) = match part.stage {
            Stage::First => (&mut asking, signal.clone()),
            Stage::Last => (&mut serving, last.clone()),
        };
        let client = clients.get(&part.kubeconfig).cloned().flatten();
        let surroundings = Surroundings { client, shutdown, seed, links: links.clone() };
        let (name, running) = (part.name, (part.run)(surroundings));
        tasks.spawn(async move {
            let ended = running.await;
            tracing::info!(service = name, "a service has ended");
            ended
        });
    }
    let failure = watch(&mut asking, &mut serving, &signal).await;
    signal.trigger();
    let failure = failure.or(rest(&mut asking).await);
    last.trigger();
    match failure.or(rest(&mut serving).await) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// One client for everybody with the same credentials.
async fn clients(parts: &[Part]) -> Result<BTreeMap<Option<PathBuf>, Option<Client>>, ConnectError> {
    let mut clients = BTreeMap::new();
    for part in parts {
        if !clients.contains_key(&part.kubeconfig) {
            let client = client_from(part.kubeconfig.as_deref()).await?;
            clients.insert(part.kubeconfig.clone(), client);
        }
    }
    Ok(clients)
}

type Tasks = JoinSet<Result<(), Failure>>;

/// Waits for the signal, the first failure, or until nobody is left.
async fn watch(asking: &mut Tasks, serving: &mut Tasks, signal: &Shutdown) -> Option<Failure> {
    loop {
        let ended = tokio::select! {
            () = signal.triggered() => return None,
            Some(ended) = asking.join_next() => ended,
            Some(ended) = serving.join_next() => ended,
            else => return None,
        };
        if let Some(failure) = failure(ended) {
            return Some(failure);
        }
    }
}

/// Waits until all have ended; the first failure.
async fn rest(tasks: &mut Tasks) -> Option<Failure> {
    let mut first = None;
    while let Some(ended) = tasks.join_next().await {
        first = first.or(failure(ended));
    }
    first
}

fn failure(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Option<Failure> {
    match ended {
        Ok(ended) => ended.inspect_err(|failure| tracing::error!(%failure, "a service failed")).err(),
        Err(why) => Some(Failure::new("agent", format!("a service panicked, which is a defect: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::Running;
    use std::sync::Mutex;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    /// A part that says when it ends.
    fn part(name: &'static str, stage: Stage, log: &Log, end: Result<(), Failure>) -> Part {
        let log = log.clone();
        let run = move |surroundings: Surroundings| {
            Box::pin(async move {
                if end.is_ok() {
                    surroundings.shutdown.triggered().await;
                }
                log.lock().unwrap().push(name);
                end
            }) as Running
        };
        let kubeconfig = Some("/nowhere".into()).filter(|_| false);
        Part { name, stage, kubeconfig, log_level: String::new(), run: Box::new(run) }
    }

    fn run_all(parts: Vec<Part>, signal: Shutdown) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(parts, 7, signal)).map_err(|why| why.text())
    }

    #[test]
    fn those_who_ask_end_before_those_who_answer() {
        let (log, signal) = (Log::default(), Shutdown::default());
        signal.trigger();
        let parts =
            vec![part("addresses", Stage::Last, &log, Ok(())), part("cni", Stage::First, &log, Ok(()))];
        run_all(parts, signal).unwrap();
        assert_eq!(*log.lock().unwrap(), ["cni", "addresses"]);
    }

    #[test]
    fn a_failure_ends_all_and_is_answered_with_its_code() {
        let log = Log::default();
        let broken = Failure { service: "cni", why: "no socket".into(), code: 3 };
        let parts = vec![
            part("addresses", Stage::Last, &log, Ok(())),
            part("cni", Stage::First, &log, Err(broken.clone())),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(run(parts, 7, Shutdown::default())).unwrap_err();
        assert_eq!((error.exit_code(), error.text()), (3, broken.to_string()));
        assert_eq!(*log.lock().unwrap(), ["cni", "addresses"]);
    }

    #[test]
    fn the_most_talkative_level_counts() {
        let with = |level: &str| {
            let part = part("p", Stage::Last, &Log::default(), Ok(()));
            Part { log_level: level.to_owned(), ..part }
        };
        assert_eq!(log_level(&[with("error"), with("debug"), with("")]), "debug");
        assert_eq!(log_level(&[with("error"), with("")]), "");
    }
}
