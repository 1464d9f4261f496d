//! How long an answer is waited for, and which failures are worth another try (spec/multus.md 12.2, spec/decisions.md: a slow API server
//! is waited for within the time that a container runtime gives a CNI plugin, not for 250 ms).

use std::error::Error as _;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Bounds of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one try, the connection included.
    pub attempt: Duration,
    /// For all tries and the pauses between them.
    pub total: Duration,
}

impl Limits {
    /// For what an ADD cannot go on without. Container runtimes give up after one or two minutes.
    pub const PATIENT: Limits = Limits { attempt: Duration::from_secs(10), total: Duration::from_secs(30) };
    /// For what a DEL can go on without.
    pub const BRIEF: Limits = Limits { attempt: Duration::from_secs(1), total: Duration::from_millis(2500) };
}

/// Why there is no answer, as the server says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The server says that there is no such object.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else wrote the object meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks until there is an answer, a failure that another try will not mend, or no time left.
pub(crate) async fn ask<T, F>(limits: Limits, mut question: impl FnMut() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let deadline = Instant::now() + limits.total;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let failure = match timeout(limits.attempt.min(left), question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !is_passing(&error) => return Err(problem(&error)),
            Ok(Err(error)) => text(&error),
            Err(_) => format!("no answer within {:?}", limits.attempt.min(left)),
        };
        if Instant::now() + pause >= deadline {
            return Err(Problem::Other(format!("{failure} (gave up after {:?})", limits.total)));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Overload, a server that starts, a connection that breaks: yes. A certificate that does not fit: no.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) => !text(error).contains("certificate"),
        _ => false,
    }
}

fn problem(error: &kube::Error) -> Problem {
    match error {
        kube::Error::Api(status) if status.code == 404 => Problem::NotFound(status.message.clone()),
        kube::Error::Api(status) if status.code == 409 => Problem::Conflict(status.message.clone()),
        kube::Error::Api(status) => Problem::Other(status.message.clone()),
        other => Problem::Other(text(other)),
    }
}

/// The innermost causes say what happened; kube's own messages repeat theirs.
pub(crate) fn text(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
