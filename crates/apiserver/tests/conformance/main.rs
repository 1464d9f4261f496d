//! One suite, two servers: each case of `cases/` is a short script of requests, and the embedded server must answer it as the
//! real kube-apiserver does.
//!
//! `golden/` holds what the real one answered, normalised, so that the comparison needs neither etcd nor Go. Where the real
//! one is here too (tier `cluster`), it is asked again, and the recorded answers must still be its answers. What differs on
//! purpose, or not yet, is a row of `docs/apiserver-differences.md`; a row whose case does not differ fails the test.
//!
//! - `POLYNIC_RECORD=1` writes the golden files anew from the real server.
//! - `POLYNIC_CASE=text` runs only the cases with this text in their area or title, and shows their answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking; helpers here are tests too"
)]
mod case;
#[allow(dead_code, reason = "shared with the other test program, which uses more of it")]
#[path = "../api/client.rs"]
mod client;
mod compare;
mod differences;
mod golden;
#[allow(dead_code, reason = "shared with the other test program, which uses more of it")]
#[path = "../api/hook_server.rs"]
mod hook_server;
mod hooks;
mod normal;
mod run;

use std::net::SocketAddr;

use case::Case;
use client::{Credentials, TestServer};
use hook_server::HookServer;
use polynic_apiserver::Authorization;
use polynic_control_plane::{ControlPlane, Programs};
use run::Transcript;

/// The smallest number of cases that the suite promises.
const PROMISED: usize = 450;

/// A server under test.
struct Target {
    addr: SocketAddr,
    credentials: Credentials,
    hooks: HookServer,
}

impl Target {
    async fn real(plane: &ControlPlane) -> Self {
        let credentials = Credentials { ca: plane.ca_pem().into(), token: plane.token().into() };
        Self { addr: plane.addr(), credentials, hooks: hooks::start().await }
    }

    async fn embedded(server: &TestServer) -> Self {
        let credentials =
            Credentials { ca: server.running.ca_pem().into(), token: server.running.token().into() };
        Self { addr: server.running.addr(), credentials, hooks: hooks::start().await }
    }
}

fn filter() -> Option<String> {
    std::env::var("POLYNIC_CASE").ok().filter(|text| !text.is_empty())
}

fn cases() -> Vec<Case> {
    let mut all = case::load();
    if let Some(text) = filter() {
        all.retain(|case| case.area.contains(&text) || case.title.contains(&text));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_answers_as_the_real_one() {
    let cases = cases();
    let server = TestServer::start_with(|config| config.authorization = Authorization::Rbac).await;
    let ours = run::all(&Target::embedded(&server).await, &cases).await;
    let expected = golden::read(&cases);
    let allowed = differences::read();
    let failures = judge(&cases, &expected, &ours, &allowed);
    let differing = cases.iter().filter(|case| allowed.contains_key(&case.key())).count();
    eprintln!("{} cases, {differing} of them with a known difference", cases.len());
    assert!(
        failures.is_empty(),
        "{} of {} cases differ:\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// One text per case that differs and may not, or may and does not.
fn judge(
    cases: &[Case],
    expected: &[Option<Transcript>],
    ours: &[Transcript],
    allowed: &differences::Allowed,
) -> Vec<String> {
    let verdict = |((case, expected), ours): ((&Case, &Option<Transcript>), &Transcript)| {
        if filter().is_some() {
            eprintln!("{}\n  real: {expected:#?}\n  ours: {ours:#?}", case.key());
        }
        let Some(expected) = expected else {
            return Some(format!("{}: no recorded answer: run with POLYNIC_RECORD=1\n", case.key()));
        };
        let differs = compare::transcripts(expected, ours);
        match (differs, allowed.get(&case.key())) {
            (Some(text), None) => Some(format!("{}\n{text}", case.key())),
            (None, Some(_)) => Some(format!("{}: listed as different, but it is not\n", case.key())),
            _ => None,
        }
    };
    cases.iter().zip(expected).zip(ours).filter_map(verdict).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_answers_are_those_of_the_real_server() {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = tokio::task::spawn_blocking(move || ControlPlane::start(&programs)).await.unwrap().unwrap();
    let cases = cases();
    let real = run::all(&Target::real(&plane).await, &cases).await;
    if std::env::var_os("POLYNIC_RECORD").is_some() {
        golden::write(&cases, &real);
        return;
    }
    let failures = judge(&cases, &golden::read(&cases), &real, &differences::Allowed::default());
    assert!(failures.is_empty(), "recorded answers are not current:\n\n{}", failures.join("\n"));
}

#[test]
fn the_suite_is_as_large_as_promised() {
    let all = case::load();
    assert!(all.len() >= PROMISED, "{} cases, not {PROMISED}", all.len());
    let known: std::collections::BTreeSet<String> = all.iter().map(Case::key).collect();
    let stale: Vec<String> = differences::read().into_keys().filter(|key| !known.contains(key)).collect();
    assert!(stale.is_empty(), "docs/apiserver-differences.md has rows without a case: {stale:?}");
}
