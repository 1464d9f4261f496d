//! CNI calls of this node: checked, ordered by pod, and run through `attach` on plain threads.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polynic_attach::{
    self as attach, Cluster, Config as AttachConfig, Context, DoorNetns, Forward, Log,
    context::{LOCK_PATIENCE, Wait},
};
use polynic_cluster::{NodeCache, NodeCluster};
use polynic_cni::{Delegate, Error, Invocation, Output, Verb, Version, code};
use polynic_kernel::Door;
use polynic_wire::multus::deletions::Deletions;
use polynic_wire::multus::{self, CniRequest};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::Config;
use super::desk::Desk;
use super::leaving::Leaving;
use super::metrics::CniMetrics;
use super::order::{Lane, Whose};
use super::request::{self, Prepared, Surrounding};
use super::sandboxes::Sandboxes;

mod ad_hoc;
mod following;

/// What the endpoint needs of the process and the machine.
pub struct Surroundings {
    /// Calls plugins.
    pub delegate: Box<dyn Delegate>,
    /// Opens namespaces.
    pub door: Box<dyn Door>,
    /// What is known of the API; `None` without credentials.
    pub cluster: Option<Arc<NodeCache>>,
    /// Our own environment, which plugins inherit.
    pub env: Vec<(OsString, OsString)>,
}

/// The CNI endpoint without its transport.
pub struct Endpoint {
    config: Config,
    around: Surroundings,
    own: Surrounding,
    desk: Desk,
    metrics: Arc<CniMetrics>,
    deletions: Deletions,
    sandboxes: Sandboxes,
    leaving: Leaving,
    has_attached: Notify,
    /// Whether it is known who was attached before.
    remembered: AtomicBool,
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An error object of the protocol, whose code matters.
    Object(Error),
    /// A text.
    Text(String),
    /// A defect of ours.
    Defect(String),
}

impl Refusal {
    /// Says that the refused deletion is done later, see [`multus::WRITTEN_DOWN`].
    fn written_down(self) -> Self {
        let with = |text: String| format!("{text} ({})", multus::WRITTEN_DOWN);
        match self {
            Self::Object(error) => Self::Object(Error { msg: with(error.msg), ..error }),
            Self::Text(text) => Self::Text(with(text)),
            Self::Defect(text) => Self::Defect(with(text)),
        }
    }
}

/// What becomes of work that nobody waits for any more when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    Done,
    Dropped,
}

/// When a piece of work is done.
pub(crate) struct Turn<'a> {
    pub(crate) lane: Lane,
    pub(crate) whose: Whose<'a>,
    pub(crate) abandoned: Abandoned,
}

impl<'a> Turn<'a> {
    /// That of a call. What takes away is done whoever still waits; nobody is attached for a shim that has given up, its runtime deletes
    /// the pod. ADDs and STATUSes may wait for the default network and the API server; whatever else a runtime asks does not wait for them.
    fn of(verb: Verb, key: &'a str, sandbox: &'a str) -> Self {
        let (lane, abandoned) = match verb {
            Verb::Add | Verb::Status => (Lane::Patient, Abandoned::Dropped),
            Verb::Check | Verb::Version => (Lane::Prompt, Abandoned::Dropped),
            Verb::Del | Verb::Gc => (Lane::Prompt, Abandoned::Done),
        };
        Self { lane, whose: Whose { key, sandbox, overtakes: verb == Verb::Del }, abandoned }
    }
}

impl Endpoint {
    /// An endpoint; nobody listens yet.
    pub fn new(config: Config, around: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            own: Surrounding { env: around.env.clone() },
            desk: Desk::new(config.at_once()),
            metrics: Arc::default(),
            deletions: Deletions::new(&config.deletions),
            sandboxes: Sandboxes::new(config.own_state().join("multus-shim.conf")),
            leaving: Leaving::default(),
            has_attached: Notify::new(),
            remembered: AtomicBool::default(),
            config,
            around,
        })
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<CniMetrics> {
        &self.metrics
    }

    /// What it is told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Deletions that wait.
    pub(crate) fn deletions(&self) -> &Deletions {
        &self.deletions
    }

    /// Calls that nobody serves yet.
    pub fn waiting(&self) -> usize {
        self.desk.waiting()
    }

    /// Whether the watches have told of a pod.
    pub fn knows_pod(&self, namespace: &str, name: &str) -> bool {
        self.around.cluster.as_ref().is_some_and(|cluster| cluster.pod(namespace, name).is_some())
    }

    /// Serves `/cni`: the result of an ADD in the newest version, nothing for other verbs.
    ///
    /// # Errors
    /// As the replaced daemon answers them, see [`Refusal`].
    pub async fn cni(self: &Arc<Self>, request: CniRequest) -> Result<Option<Value>, Refusal> {
        let mut prepared = request::prepare(&request, &self.config, &self.own).map_err(Refusal::Text)?;
        self.hear_of(&mut prepared, &request);
        let (verb, key) = (prepared.verb, prepared.order());
        let sandbox = prepared.invocation.container_id.clone();
        let going = (verb == Verb::Del).then(|| self.leaving.begin(&sandbox));
        let endpoint = self.clone();
        let work = move || {
            let _going = going;
            endpoint.serve(&prepared, &request)
        };
        self.run(verb, Turn::of(verb, &key, &sandbox), work).await
    }

    /// Serves `/delegate`: one network of a pod, with the configuration that the request carries.
    ///
    /// # Errors
    /// As for [`Endpoint::cni`].
    pub async fn delegate(self: &Arc<Self>, request: CniRequest) -> Result<Option<Value>, Refusal> {
        let prepared = ad_hoc::prepare(&request, &self.config, &self.own).map_err(Refusal::Text)?;
        let (verb, key) = (prepared.call.verb, prepared.call.order());
        let (endpoint, sandbox) = (self.clone(), prepared.call.invocation.container_id.clone());
        // Whatever it is, it asks the API server for the pod.
        let turn = Turn { lane: Lane::Patient, ..Turn::of(verb, &key, &sandbox) };
        self.run(verb, turn, move || endpoint.serve_one(&prepared)).await
    }

    /// Runs a call of a pod, and counts it.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        verb: Verb,
        turn: Turn<'_>,
        work: impl FnOnce() -> Result<T, (Refusal, &'static str)> + Send + 'static,
    ) -> Result<T, Refusal> {
        let counted = self.metrics.begin(verb);
        let outcome = self.queued(turn, work).await;
        counted.end(outcome.as_ref().err().map(|(_, cause)| *cause));
        outcome.map_err(|(refusal, _)| refusal)
    }

    /// Runs work for a pod on a plain thread, after everything of the pod that it has to wait for.
    pub(crate) async fn queued<T: Send + 'static>(
        self: &Arc<Self>,
        turn: Turn<'_>,
        work: impl FnOnce() -> Result<T, (Refusal, &'static str)> + Send + 'static,
    ) -> Result<T, (Refusal, &'static str)> {
        let (reply, answer) = oneshot::channel();
        let Turn { lane, whose, abandoned } = turn;
        let job = move || {
            if abandoned == Abandoned::Done || !reply.is_closed() {
                drop(reply.send(work()));
            }
        };
        let submitted = self.desk.submit(lane, whose, job);
        submitted.map_err(|why| (Refusal::Defect(format!("cannot start a thread: {why}")), "thread"))?;
        let panicked = "the call panicked; this is a defect, its message is in the log".to_owned();
        answer.await.unwrap_or(Err((Refusal::Defect(panicked), "panic")))
    }

    /// What the sandboxes have to know of a call before it is its turn.
    fn hear_of(&self, prepared: &mut Prepared, request: &CniRequest) {
        if self.sandboxes.sent(&request.config) {
            // Now it can be read who was attached before.
            self.has_attached.notify_one();
        }
        match prepared.verb {
            Verb::Add => self.sandboxes.begun(&prepared.invocation),
            // The runtime's list may be older than ADDs that are under way.
            Verb::Gc => {
                if let Some(listed) = &mut prepared.config.valid_attachments {
                    listed.extend(self.sandboxes.recent());
                }
            }
            _ => {}
        }
    }

    /// What the sandboxes have to know of a call that is done.
    fn note_done(&self, prepared: &Prepared) {
        let Prepared { invocation, pod, .. } = prepared;
        match prepared.verb {
            Verb::Add => {
                self.sandboxes.attached(pod, invocation);
                self.has_attached.notify_one();
            }
            Verb::Del => {
                self.sandboxes.deleted(pod, &invocation.container_id);
                self.forget_deletion(&invocation.container_id);
            }
            _ => {}
        }
    }

    fn serve(
        &self,
        prepared: &Prepared,
        request: &CniRequest,
    ) -> Result<Option<Value>, (Refusal, &'static str)> {
        let container = &prepared.invocation.container_id;
        let (verb, pod) = (prepared.verb, &prepared.pod);
        tracing::debug!(%verb, pod, container, netns = prepared.invocation.netns, "a call begins");
        let started = Instant::now();
        let (done, plugin_failed) =
            self.with_context(self.cluster(), &prepared.config, |context| attach_by(verb, context, prepared));
        let took = started.elapsed();
        match done {
            Ok(result) => {
                tracing::info!(%verb, pod, container, ?took, "a call is done");
                self.note_done(prepared);
                Ok(result)
            }
            Err(error) => {
                tracing::error!(%verb, pod, container, ?took, %error, "a call failed");
                let is_kept = verb == Verb::Del && self.keep_deletion(container, request);
                let cause = cause(&error, plugin_failed);
                let refusal = refusal(error, &prepared.prefix());
                Err((if is_kept { refusal.written_down() } else { refusal }, cause))
            }
        }
    }

    /// The API server for a call.
    fn cluster(&self) -> Option<NodeCluster> {
        self.around.cluster.clone().map(NodeCluster::new)
    }

    /// Runs something with the world as a call sees it; also says whether a plugin failed meanwhile.
    pub(crate) fn with_context<T>(
        &self,
        cluster: Option<NodeCluster>,
        config: &AttachConfig,
        work: impl FnOnce(&Context<'_>) -> T,
    ) -> (T, bool) {
        let netns = DoorNetns { door: self.around.door.as_ref() };
        let delegate = Measured {
            inner: self.around.delegate.as_ref(),
            metrics: &self.metrics,
            failed: AtomicBool::new(false),
        };
        let log = Log::open(&config.log);
        let guard = attach::policy_socket::guard(config);
        let context = Context {
            guard: guard.as_deref(),
            delegate: &delegate,
            cluster: cluster.as_ref().map(|cluster| cluster as &dyn Cluster),
            netns: &netns,
            log: &log,
            readiness: Wait::READINESS,
            lock: LOCK_PATIENCE,
            forward: Forward::Known,
        };
        let done = work(&context);
        (done, delegate.failed.load(Ordering::Relaxed))
    }

    /// The runtime was told of a failure, and may have been told so by a shim that makes it a success: it is tried again here, if it can be
    /// written down.
    fn keep_deletion(&self, container: &str, request: &CniRequest) -> bool {
        let recorded = self.deletions.record(container, request);
        if let Err(why) = &recorded {
            tracing::error!(container, %why, "a failed deletion cannot be written down");
        }
        recorded.is_ok()
    }

    pub(crate) fn forget_deletion(&self, container: &str) {
        if let Err(why) = self.deletions.forget(container) {
            tracing::error!(container, %why, "a deletion that is done cannot be forgotten");
        }
    }
}

fn attach_by(verb: Verb, context: &Context<'_>, prepared: &Prepared) -> Result<Option<Value>, Error> {
    let Prepared { invocation, config, .. } = prepared;
    match verb {
        Verb::Add => attach::add(context, invocation, config)?.to_value(Version::NEWEST).map(Some),
        Verb::Del => attach::del(context, invocation, config).map(|()| None),
        Verb::Check => attach::check(context, invocation, config).map(|()| None),
        Verb::Status => attach::status(context, invocation, config).map(|()| None),
        Verb::Gc => attach::gc(context, invocation, config).map(|()| None),
        Verb::Version => Ok(None),
    }
}

/// A code that means something to the runtime goes as an object; the rest as the replaced daemon's text.
fn refusal(error: Error, prefix: &str) -> Refusal {
    match error.code {
        code::TRY_AGAIN_LATER | code::NOT_AVAILABLE | code::LIMITED_CONNECTIVITY => Refusal::Object(error),
        _ => Refusal::Text(format!("{prefix}{error}")),
    }
}

/// For the metrics.
fn cause(error: &Error, plugin_failed: bool) -> &'static str {
    match (error.code, plugin_failed) {
        (code::TRY_AGAIN_LATER, _) => "try_again_later",
        (code::NOT_AVAILABLE | code::LIMITED_CONNECTIVITY, _) => "not_available",
        (_, true) => "plugin",
        (_, false) => "attachment",
    }
}

/// Measures plugins.
struct Measured<'a> {
    inner: &'a dyn Delegate,
    metrics: &'a CniMetrics,
    failed: AtomicBool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

impl Delegate for Measured<'_> {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        let started = Instant::now();
        let outcome = self.inner.call(plugin_type, verb, invocation);
        let took: Duration = started.elapsed();
        let network = serde_json::from_slice::<Named>(&invocation.stdin).unwrap_or_default().name;
        self.metrics.plugin(verb, &network, plugin_type, took);
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        self.inner.find(plugin_type, path)
    }
}
