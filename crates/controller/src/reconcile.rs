//! Running a reconciler: a function that makes one object right, again and again.
//!
//! Everything here is level-triggered: what happens is decided by what is there now. So a controller that is killed at any moment goes on
//! where it stopped.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Resource;
use kube::runtime::controller::{Action, Controller};
use serde::de::DeserializeOwned;

/// How soon what failed is tried again, and how often everything is looked at although nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After an error.
    pub retry: Duration,
    /// After a success.
    pub resync: Duration,
}

/// Why an object could not be made right.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refuses or does not answer.
    #[error("{step}")]
    Api {
        /// What was tried.
        step: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl ReconcileError {
    /// Says what was tried.
    pub fn during(step: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let step = step.into();
        move |source| Self::Api { step, source: Box::new(source) }
    }

    /// The whole chain of causes as one line.
    pub fn text(&self) -> String {
        match self {
            Self::Api { step, source } => format!("{step}: {source}"),
            Self::Other(text) => text.clone(),
        }
    }

    /// Whether somebody else wrote the object meanwhile, or it is gone: nothing to talk about.
    fn is_usual(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 404 | 409)))
    }
}

/// Runs `reconcile` for every object until the future is dropped. `name` is that of the controller in the log.
pub async fn run<K, F, R>(name: &'static str, controller: Controller<K>, pace: Pace, reconcile: F)
where
    K: Clone + Resource<DynamicType = ()> + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Fn(Arc<K>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<Duration>, ReconcileError>> + Send + 'static,
{
    let again = move |object: Arc<K>, _: Arc<()>| {
        let done = reconcile(object);
        async move { done.await.map(|soon| Action::requeue(soon.unwrap_or(pace.resync))) }
    };
    let failed = move |object: Arc<K>, error: &ReconcileError, _: Arc<()>| {
        let object = object.meta().name.clone().unwrap_or_default();
        match error.is_usual() {
            true => tracing::debug!(controller = name, object, error = error.text(), "tried again soon"),
            false => tracing::warn!(controller = name, object, error = error.text(), "tried again later"),
        }
        Action::requeue(if error.is_usual() {
            pace.retry.min(Duration::from_millis(100))
        } else {
            pace.retry
        })
    };
    let rounds = controller.run(again, failed, Arc::new(()));
    rounds.for_each(|_| async {}).await;
}
