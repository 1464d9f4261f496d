//! `ip-reconciler`: gives back what pods left of whereabouts' addresses (spec/whereabouts.md 8).
//!
//! A pod that vanishes is looked at within a second or two, as the replaced `ip-control-loop` does, and its Event says what was given back.
//! Everybody is looked at when pods have been listed, so that no end of a pod goes unseen in between, and by a schedule, which is every minute
//! unless somebody sets another.

mod schedule;
mod vanished;

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use polynic_cluster::whereabouts::{Collected, collect};
use polynic_runtime::configuration::Environment;
use tokio::time::Instant;

use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};
use crate::whereabouts::{self, Arguments};
use schedule::Schedule;
use vanished::{Vanished, Waiting};

/// The replaced program.
pub const NAME: &str = "ip-reconciler";

/// A schedule in cron's form, in UTC.
const CRON: &str = "WHEREABOUTS_RECONCILER_CRON";

/// How long a vanished pod's DEL has before somebody else cleans up, and pods that vanish together have to come together.
const GRACE: Duration = Duration::from_secs(1);

/// After a look that failed, everybody is looked at so soon.
const AGAIN: Duration = Duration::from_secs(60);

pub(crate) const USAGE: &str = "ip-reconciler [-kubeconfig FILE] [-log-level LEVEL] [-timeout SECONDS]";

/// It has no configuration; whoever wants it names it.
pub(crate) fn is_configured() -> bool {
    false
}

/// Reads the command line. The objects are in the namespace that `WHEREABOUTS_NAMESPACE` names.
///
/// # Errors
/// A word is none of the replaced program's, or the schedule is none.
pub(crate) fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let arguments = read(words)?;
    let namespace = whereabouts::namespace(environment);
    let schedule = schedule(environment)?;
    Ok(Part {
        name: NAME,
        stage: Stage::First,
        kubeconfig: arguments.kubeconfig,
        log_level: arguments.log_level,
        run: Box::new(|surroundings| Box::pin(run(namespace, schedule, surroundings))),
    })
}

fn schedule(environment: Environment<'_>) -> Result<Schedule, CommandError> {
    let text = environment(CRON).filter(|text| !text.trim().is_empty());
    let wrong = |why| CommandError::Config { service: NAME, why: format!("{CRON}: {why}"), code: 1 };
    text.map_or(Ok(Schedule::default()), |text| text.parse().map_err(wrong))
}

async fn run(namespace: String, schedule: Schedule, surroundings: Surroundings) -> Result<(), Failure> {
    let client = surroundings.client.ok_or_else(Failure::no_cluster)?;
    let vanished = Vanished::default();
    let looks = async {
        let mut due = Instant::now() + schedule.pause(Timestamp::now());
        let mut whom = Waiting::default();
        loop {
            whom.extend(vanished.next(due).await);
            tokio::time::sleep(GRACE).await;
            whom.extend(vanished.take());
            if whom.is_everybody() {
                due = Instant::now() + schedule.pause(Timestamp::now());
            }
            match look(&client, &namespace, &whom).await {
                Ok(()) => whom = Waiting::default(),
                Err(problems) => {
                    for why in problems {
                        tracing::warn!(why, "addresses of pods that are gone are not collected now");
                    }
                    due = due.min(Instant::now() + AGAIN);
                }
            }
        }
    };
    let both = async { tokio::join!(looks, vanished.follow(client.clone())) };
    let _ = surroundings.shutdown.unless(both).await;
    Ok(())
}

/// Looks once. What was collected is told, even if some of it was not to be had.
async fn look(client: &Client, namespace: &str, whom: &Waiting) -> Result<(), Vec<String>> {
    let collected = collect(client.clone(), namespace, whom.whose()).await.map_err(|why| vec![why])?;
    tell(&collected);
    vanished::tell_pods(client, whom, &collected).await;
    if collected.problems.is_empty() { Ok(()) } else { Err(collected.problems) }
}

fn tell(collected: &Collected) {
    for freed in &collected.allocations {
        tracing::info!(%freed, "an address whose pod is gone is free again");
    }
    for name in &collected.reservations {
        tracing::info!(name, "a reservation whose pod is gone is removed");
    }
}

fn read(words: &[String]) -> Result<Arguments, CommandError> {
    // Each request has its own limit.
    Arguments::read(words, USAGE, &["timeout"])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::core::Request;
    use kube::core::params::{DeleteParams, GetParams, ListParams, PostParams};
    use polynic_api::whereabouts::{IP_POOL, RESERVATION};
    use polynic_apiserver::{Config, Server};
    use polynic_runtime::Shutdown;
    use serde_json::{Value, json};

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

    #[test]
    fn a_wrong_schedule_is_named() {
        let of = |text: &'static str| schedule(&move |name| (name == CRON).then(|| text.to_owned()));
        let now = "2026-03-01T04:29:17Z".parse().unwrap();
        assert_eq!(of("").unwrap().pause(now), Duration::from_secs(60), "no schedule: every minute");
        assert!(of("30 4 * * *").is_ok());
        assert!(of("daily").unwrap_err().to_string().contains("WHEREABOUTS_RECONCILER_CRON"));
    }

    const GROUP: &str = "whereabouts.cni.cncf.io/v1alpha1";
    const ALLOCATED: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";

    /// What the replaced program leaves until half past four.
    #[tokio::test]
    async fn a_pod_that_vanishes_gives_back_its_address_and_its_event_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(Config::new(directory.path())).await.unwrap();
        let client = polynic_cluster::client_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
        for kind in [IP_POOL, RESERVATION] {
            let crd: Value = serde_saphyr::from_str(kind.crd).unwrap();
            create(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
        }
        let pods = "/api/v1/namespaces/default/pods";
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        for name in ["web", "other"] {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
            create(&client, pods, &pod).await;
        }
        let holder = |name: &str| json!({"id": "c", "podref": format!("default/{name}"), "ifname": "net1"});
        let allocations = json!({"1": holder("web"), "2": holder("other"), "3": holder("never")});
        let pool = json!({"apiVersion": GROUP, "kind": "IPPool", "metadata": {"name": "10.28.0.0-24"},
                          "spec": {"range": "10.28.0.0/24", "allocations": allocations}});
        create(&client, ALLOCATED, &pool).await;
        let surroundings = Surroundings {
            client: Some(client.clone()),
            shutdown: Shutdown::default(),
            seed: 1,
            links: Arc::default(),
        };
        let (shutdown, once_a_year) = (surroundings.shutdown.clone(), "@yearly".parse().unwrap());
        let running = tokio::spawn(run("kube-system".to_owned(), once_a_year, surroundings));
        let left = async || get(&client, ALLOCATED, "10.28.0.0-24").await["spec"]["allocations"].clone();
        let both = json!({"1": holder("web"), "2": holder("other")});
        until("everybody is looked at", async || left().await == both).await;
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let _: Value = client.request(Request::new(pods).delete("web", &now).unwrap()).await.unwrap();
        until("the address is free", async || left().await == json!({"2": holder("other")})).await;
        let events = async || {
            let request = Request::new("/api/v1/namespaces/default/events").list(&ListParams::default());
            let list: Value = client.request(request.unwrap()).await.unwrap();
            list["items"].as_array().unwrap().clone()
        };
        until("the Event", async || !events().await.is_empty()).await;
        let event = &events().await[0];
        assert_eq!(
            (&event["reason"], &event["involvedObject"]["name"]),
            (&json!("IPAddressGarbageCollected"), &json!("web"))
        );
        assert!(event["message"].as_str().unwrap().contains("10.28.0.1"), "{event}");
        shutdown.trigger();
        running.await.unwrap().unwrap();
        server.shutdown().await;
    }

    async fn create(client: &Client, path: &str, object: &Value) {
        let request =
            || Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        until("the kind is served", async || client.request::<Value>(request()).await.is_ok()).await;
    }

    async fn get(client: &Client, path: &str, name: &str) -> Value {
        client.request(Request::new(path).get(name, &GetParams::default()).unwrap()).await.unwrap()
    }

    async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
        let asked = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}
