//! The API without its transport: what each call does and answers (spec/spiderpool.md 5).

use std::sync::Arc;
use std::time::Duration;

use polynic_cluster::addresses::KubeStore;
use polynic_ipam::{
    Answer, Answered, Failure, FailureReason, Grant, Handle, Parts, Pod, PodKey, ReleaseRequest, Store,
    service,
};
use polynic_net::Entropy;
use polynic_wire::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{CONFLICT_RELEASE_DISABLED, CONFLICT_RELEASE_REFUSED, ReleaseJournal};
use tokio::time::{Instant, timeout};

use super::clock::TokioClock;
use super::metrics::Took;
use super::translate::Detection;
use super::{AgentMetrics, Config, coordinator, translate};

/// Time for an allocation: the plugin waits 100 s.
const ADD_PATIENCE: Duration = Duration::from_secs(90);
/// Time for a release, after which it waits on disk: the plugin waits 20 s.
const RELEASE_PATIENCE: Duration = Duration::from_secs(12);

/// An error as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP status.
    pub code: u16,
    /// The text.
    pub message: String,
}

impl Refused {
    fn internal(message: impl Into<String>) -> Self {
        Self { code: 500, message: message.into() }
    }
}

/// The address service of one node.
pub struct Service {
    config: Config,
    store: Arc<KubeStore>,
    allocator: Handle,
    clock: Arc<TokioClock>,
    releases: ReleaseJournal,
    metrics: Arc<AgentMetrics>,
}

impl Service {
    /// Starts the allocator on the current runtime. `seed` spreads the retries of agents: two must not have the same.
    pub fn start(config: Config, store: Arc<KubeStore>, seed: u64) -> Arc<Self> {
        let clock = Arc::new(TokioClock::start());
        let parts = Parts {
            store: store.clone(),
            clock: clock.clone(),
            settings: config.allocator.clone(),
            entropy: Entropy::new(seed),
            warn: Box::new(|why| tracing::warn!("{why}")),
        };
        let (allocator, run) = service(parts);
        tokio::spawn(run);
        let releases = ReleaseJournal::new(&config.releases);
        Arc::new(Self { config, store, allocator, clock, releases, metrics: Arc::default() })
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<AgentMetrics> {
        &self.metrics
    }

    /// What the allocator counts.
    pub fn counters(&self) -> polynic_ipam::Counters {
        self.allocator.counters()
    }

    /// Releases that wait on disk.
    pub fn releases(&self) -> &ReleaseJournal {
        &self.releases
    }

    /// Whether requests can be served: all that has to be known of the cluster has been seen.
    pub fn healthy(&self) -> Result<(), Refused> {
        let synced = self.store.is_synced();
        synced
            .then_some(())
            .ok_or_else(|| Refused::internal("the agent has not yet seen the cluster's pools"))
    }

    /// Addresses for an interface.
    pub async fn add(&self, request: &AddRequest) -> Result<AddResponse, Refused> {
        let start = Instant::now();
        let (granted, queued) = self.allocate(request).await;
        let took = Took { whole: start.elapsed(), queued };
        self.metrics.allocated(took, granted.as_ref().err().map(|failure| &failure.why));
        self.metrics.take_over(self.allocator.counters());
        let pod = format!("{}/{}", request.pod_namespace, request.pod_name);
        match granted {
            Ok(grant) => {
                let response = translate::add_response(&grant, self.detection(request).await);
                tracing::info!(pod, interface = request.if_name, ips = ?addresses(&response), "allocated");
                Ok(response)
            }
            Err(failure) => {
                tracing::error!(pod, interface = request.if_name, why = %failure, "no allocation");
                Err(refused(&failure))
            }
        }
    }

    async fn detection(&self, request: &AddRequest) -> Detection {
        let key = PodKey::new(&request.pod_namespace, &request.pod_name);
        // If it cannot be known, the address is probed: a wrong alarm is tried again.
        let moves = self.config.detect_conflicts
            && self.store.is_migration_target(&key).await.is_ok_and(|is_target| is_target);
        Detection { conflicts: self.config.detect_conflicts && !moves, gateways: self.config.detect_gateways }
    }

    /// The addresses, and how long the request waited for its turn.
    async fn allocate(&self, request: &AddRequest) -> (Result<Grant, Failure>, Duration) {
        let mut wanted = translate::add_request(request);
        let subject = format!("pod {}, interface {}", wanted.pod, wanted.nic);
        wanted.deadline = self.clock.after(ADD_PATIENCE);
        if let Err(failure) = self.acquainted(&subject, ADD_PATIENCE).await {
            return (Err(failure), Duration::ZERO);
        }
        let answered = self.allocator.add(wanted).await;
        let granted = match answered.answer {
            Answer::Granted(grant) => Ok(grant),
            Answer::Failed(failure) => Err(failure),
            Answer::Released => {
                let why = FailureReason::Internal("a release was answered instead".to_owned());
                Err(Failure { subject, why })
            }
        };
        (granted, answered.queued)
    }

    /// An agent that has just started knows no pools yet: that must not look like a cluster that has none.
    async fn acquainted(&self, subject: &str, patience: Duration) -> Result<(), Failure> {
        let late = || FailureReason::OutOfTime("the agent has not yet seen the cluster's pools".to_owned());
        let failure = |_| Failure { subject: subject.to_owned(), why: late() };
        timeout(patience, self.store.synced()).await.map_err(failure)
    }

    /// Gives a pod's addresses back. What cannot be done now is written down, and will be done.
    pub async fn release(&self, request: &DelRequest) -> Result<(), Refused> {
        let Err(failure) = self.try_release(request).await else { return Ok(()) };
        // The interface may be there again by the time of a replay: whoever detaches it tries again.
        if request.is_detached || matches!(failure.why, FailureReason::WrongInput(_)) {
            return Err(refused(&failure));
        }
        let unwritten = |why| Refused::internal(format!("{failure}, and it cannot be written down: {why}"));
        self.releases.record(request).map_err(unwritten)?;
        tracing::warn!(pod = request.pod_name, why = %failure, "the release waits on disk");
        Ok(())
    }

    /// Gives a pod's addresses back now, or says why not.
    pub(crate) async fn try_release(&self, request: &DelRequest) -> Result<(), Failure> {
        self.give_back(translate::release_request(request)).await
    }

    /// Gives back what a living pod holds.
    pub async fn release_batch(&self, request: &BatchDelRequest) -> Result<(), Refused> {
        self.give_back(translate::batch_request(request)).await.map_err(|failure| refused(&failure))
    }

    async fn give_back(&self, mut request: ReleaseRequest) -> Result<(), Failure> {
        let (start, pod) = (Instant::now(), request.pod.to_string());
        request.deadline = self.clock.after(RELEASE_PATIENCE);
        let (done, queued) = match self.acquainted(&pod, RELEASE_PATIENCE).await {
            Ok(()) => match self.allocator.release(request).await {
                Answered { answer: Answer::Failed(failure), queued } => (Err(failure), queued),
                Answered { queued, .. } => (Ok(()), queued),
            },
            Err(failure) => (Err(failure), Duration::ZERO),
        };
        let took = Took { whole: start.elapsed(), queued };
        self.metrics.released(took, done.as_ref().err().map(|failure| &failure.why));
        self.metrics.take_over(self.allocator.counters());
        match &done {
            Ok(()) => tracing::info!(pod, "released"),
            Err(failure) => tracing::error!(pod, why = %failure, "no release"),
        }
        done
    }

    /// What `coordinator` is to do for a pod.
    pub async fn coordinator_config(&self, pod: &PodIdentity) -> Result<CoordinatorConfig, Refused> {
        let name = &self.config.coordinator;
        let read = self.store.coordinator(name).await.map_err(|why| Refused::internal(why.to_string()))?;
        let missing = || Refused::internal(format!("there is no SpiderCoordinator {name}"));
        let object = read.ok_or_else(missing)?;
        let pod = self.pod(pod).await?;
        let config = coordinator::config(name, &object.spec, object.status.as_ref(), &pod.annotations);
        config.map_err(Refused::internal)
    }

    async fn pod(&self, pod: &PodIdentity) -> Result<Pod, Refused> {
        let key = PodKey::new(&pod.pod_namespace, &pod.pod_name);
        let read = self.store.pod(&key, "").await.map_err(|why| Refused::internal(why.to_string()))?;
        read.ok_or_else(|| Refused::internal(format!("there is no pod {key}")))
    }

    /// What a pod holds.
    pub async fn workload_endpoint(&self, pod: &PodIdentity) -> Result<WorkloadEndpoint, Refused> {
        let key = PodKey::new(&pod.pod_namespace, &pod.pod_name);
        let missing = || Refused { code: 404, message: format!("pod {key} has no endpoint") };
        let read = self.store.pod(&key, "").await.map_err(|why| Refused::internal(why.to_string()))?;
        // A virtual machine's endpoint has another name than its pod.
        let endpoint =
            read.as_ref().map_or_else(|| key.clone(), |pod| self.config.allocator.endpoint_key(pod));
        let read = self.store.endpoint(&endpoint).await.map_err(|why| Refused::internal(why.to_string()))?;
        let mut found = read.as_ref().map(translate::workload_endpoint).ok_or_else(missing)?;
        (found.pod_namespace, found.pod_name) = (key.namespace, key.name);
        Ok(found)
    }
}

fn addresses(response: &AddResponse) -> Vec<&str> {
    response.ips.iter().map(|ip| ip.address.as_str()).collect()
}

fn refused(failure: &Failure) -> Refused {
    let code = match failure.why {
        FailureReason::ConflictReleaseDisabled => CONFLICT_RELEASE_DISABLED,
        FailureReason::ConflictReleaseOfFixed => CONFLICT_RELEASE_REFUSED,
        _ => 500,
    };
    Refused { code, message: failure.to_string() }
}
