//! The one task that owns what is known, and decides what is to be done.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use polynic_kernel::RealDoor;
use polynic_policy::{Index, PodKey, Policy};
use polynic_runtime::Shutdown;
use polynic_runtime::http::{self as server, ListenError};
use polynic_wire::{PolicyNetwork, PolicySandbox};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::config::Config;
use super::enforcer::{Enforcer, Job};
use super::events::{self, Notice};
use super::http::Api;
use super::live::{self, Live, Policies};
use super::sandboxes::{Sandboxes, pod_of};
use super::watch::{self, Kind, News};

/// How often all tables are looked at, whatever is heard: somebody in a pod may have changed them.
const LOOK: Duration = Duration::from_secs(30);
/// After this a table that could not be edited is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// So much news at most is taken in before tables are rendered.
const TOGETHER: usize = 1000;

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The socket cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The threads cannot be started.
    #[error("cannot start the threads that edit tables")]
    Threads(#[source] std::io::Error),
}

/// Why a pod's policies are not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The API server does not answer.
    #[error("cannot read pod {pod} and its policies: {why}")]
    Unread {
        /// Which pod.
        pod: String,
        /// Why.
        why: String,
    },
    /// There is no such pod.
    #[error("there is no pod {0}")]
    NoPod(String),
    /// It cannot be noted down, so that the next start of the agent would not know of it.
    #[error("cannot keep what pod {pod} is attached to: {why}")]
    Unkept {
        /// Which pod.
        pod: String,
        /// Why.
        why: String,
    },
    /// The kernel refuses the table.
    #[error("cannot put the policies of pod {pod} in force: {why}")]
    Kernel {
        /// Which pod.
        pod: String,
        /// Why.
        why: String,
    },
    /// The service ends.
    #[error("the node agent is ending")]
    Ending,
}

/// What the task hears.
pub(super) enum Input {
    News(News),
    /// The policies of a namespace, read afresh.
    Policies(String, Policies),
    Protect {
        sandbox: PolicySandbox,
        live: Box<Live>,
        answer: Answer,
    },
    Release {
        sandbox: PolicySandbox,
        answer: Answer,
    },
    Done {
        pod: PodKey,
        outcome: Result<(), String>,
    },
}

type Answer = oneshot::Sender<Result<(), Refused>>;

/// The way to the service, for attachments.
#[derive(Clone)]
pub(super) struct Handle {
    client: Client,
    inbox: UnboundedSender<Input>,
}

impl Handle {
    /// Puts the policies of a pod in force in its namespace, as the API server has them now. Answers when the kernel has them.
    ///
    /// # Errors
    /// They are not in force.
    pub(super) async fn protect(&self, sandbox: PolicySandbox) -> Result<(), Refused> {
        let key = pod_of(&sandbox);
        let unread = |why: kube::Error| Refused::Unread { pod: key.to_string(), why: why.to_string() };
        let live = Box::new(live::read(&self.client, &key).await.map_err(unread)?);
        self.ask(|answer| Input::Protect { sandbox, live, answer }).await
    }

    /// Forgets a sandbox whose attachment failed, unless an earlier one of the same succeeded.
    ///
    /// # Errors
    /// Its table may still be there.
    pub(super) async fn release(&self, sandbox: PolicySandbox) -> Result<(), Refused> {
        self.ask(|answer| Input::Release { sandbox, answer }).await
    }

    async fn ask(&self, input: impl FnOnce(Answer) -> Input) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(input(answer)).map_err(|_| Refused::Ending)?;
        answered.await.unwrap_or(Err(Refused::Ending))
    }
}

/// Runs the service until the end.
///
/// # Errors
/// The socket cannot be listened on, or there cannot be threads.
pub async fn run(config: Config, client: Client, shutdown: Shutdown) -> Result<(), ServiceError> {
    let (inbox, inputs) = unbounded_channel();
    let listener = config.socket.as_deref().map(server::unix).transpose()?;
    let sandboxes = Arc::new(Mutex::new(Sandboxes::open(config.state.clone(), config.caches.clone())));
    let enforcer =
        Enforcer::start(Arc::new(RealDoor::default()), sandboxes.clone()).map_err(ServiceError::Threads)?;
    let handle = Handle { client: client.clone(), inbox: inbox.clone() };
    let watches = watch::start(&client, config.network_plugins.is_some(), &inbox);
    let serving =
        listener.map(|socket| tokio::spawn(server::serve(socket, Arc::new(Api(handle)), shutdown.clone())));
    tracing::info!(node = config.node, "network policies of this node's pods are kept in force");
    let unseen = [Kind::Pods, Kind::Namespaces, Kind::Policies].into_iter();
    let unseen = unseen.chain(config.network_plugins.is_some().then_some(Kind::Networks)).collect();
    let mut service = Service {
        index: Index::new(config.options()),
        client,
        inbox,
        enforcer,
        sandboxes,
        unseen,
        again: BTreeSet::new(),
        told: BTreeSet::new(),
    };
    service.announce_all();
    service.follow(inputs, &shutdown).await;
    drop(watches);
    if let Some(serving) = serving {
        let _ = serving.await;
    }
    Ok(())
}

struct Service {
    index: Index,
    client: Client,
    inbox: UnboundedSender<Input>,
    enforcer: Enforcer,
    sandboxes: Arc<Mutex<Sandboxes>>,
    /// Kinds of which not all has been seen yet: until then nothing is taken for absent.
    unseen: BTreeSet<Kind>,
    /// Pods whose tables could not be edited.
    again: BTreeSet<PodKey>,
    /// Pods whose failure was told.
    told: BTreeSet<PodKey>,
}

impl Service {
    async fn follow(&mut self, mut inputs: UnboundedReceiver<Input>, shutdown: &Shutdown) {
        let (mut look, mut again) = (Instant::now() + LOOK, Instant::now() + AGAIN);
        loop {
            tokio::select! {
                biased;
                () = shutdown.triggered() => return,
                Some(input) = inputs.recv() => {
                    self.take(input);
                    // What came together is rendered once.
                    for _ in 0..TOGETHER {
                        let Ok(input) = inputs.try_recv() else { break };
                        self.take(input);
                    }
                }
                () = sleep_until(again), if !self.again.is_empty() => {
                    again = Instant::now() + AGAIN;
                    let failed = std::mem::take(&mut self.again);
                    failed.iter().for_each(|pod| self.enforce(pod, true));
                }
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK;
                    self.look_at_all();
                }
            }
            self.enforce_dirty();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::News(news) => self.hear(news),
            Input::Policies(namespace, Policies { all, version }) => {
                self.index.set_policies_of(&namespace, all, version);
            }
            Input::Protect { sandbox, live, answer } => self.protect(sandbox, *live, answer),
            Input::Release { sandbox, answer } => self.release(&sandbox, answer),
            Input::Done { pod, outcome } => self.done(pod, outcome),
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Pod(key, pod) => self.index.set_pod(key, *pod),
            News::PodGone(key, uid) => self.index.remove_pod(&key, &uid),
            News::Namespace(name, labels) => self.index.set_namespace(&name, labels),
            News::Policy(policy) => {
                self.report(&policy);
                self.index.set_policy(*policy);
            }
            News::PolicyGone(key, version) => self.index.remove_policy(&key, version),
            News::Network(network, plugin) => self.index.set_network(&network, plugin),
            News::Listed(kind, names) => self.listed(kind, names.map(BTreeSet::from_iter)),
        }
    }

    fn report(&self, policy: &Policy) {
        if let Some(notice) = Notice::unrendered(policy) {
            tokio::spawn(events::post(self.client.clone(), notice));
        }
    }

    /// All objects of a kind have been seen. What is not among them is gone; of policies only a fresh look is believed, because a
    /// policy that an attachment just read may be younger than the list.
    fn listed(&mut self, kind: Kind, names: Option<BTreeSet<String>>) {
        let is_first = self.unseen.remove(&kind);
        if is_first {
            tracing::debug!(?kind, "all of a kind have been seen");
        }
        match (kind, names) {
            (Kind::Pods, Some(names)) => {
                let doubtful = self.index.keep_pods(|key| names.contains(&key.to_string()));
                doubtful.into_iter().for_each(|key| self.look_for(key));
            }
            (Kind::Namespaces, Some(names)) => {
                // Names of the whole cluster have no namespace before the slash.
                self.index.keep_namespaces(|name| names.contains(&format!("/{name}")));
            }
            (Kind::Policies, names) => {
                let names = names.unwrap_or_default();
                let missing =
                    self.index.policies().filter(|policy| !names.contains(&policy.key().to_string()));
                let namespaces: BTreeSet<String> =
                    missing.map(|policy| policy.key().namespace.clone()).collect();
                namespaces.into_iter().for_each(|namespace| self.read_policies(namespace));
            }
            _ => {}
        }
        if is_first && self.unseen.is_empty() {
            self.look_at_all();
        }
    }

    fn read_policies(&self, namespace: String) {
        let (client, inbox) = (self.client.clone(), self.inbox.clone());
        tokio::spawn(async move {
            match live::policies(&client, &namespace).await {
                Ok(policies) => drop(inbox.send(Input::Policies(namespace, policies))),
                Err(why) => tracing::warn!(namespace, error = %why, "policies cannot be read"),
            }
        });
    }

    /// Asks whether a pod is still there.
    fn look_for(&self, key: PodKey) {
        let Some(uid) = self.index.pod(&key).map(|pod| pod.uid.clone()) else { return };
        let (client, inbox) = (self.client.clone(), self.inbox.clone());
        tokio::spawn(async move {
            match live::is_gone(&client, &key, &uid).await {
                Ok(true) => drop(inbox.send(Input::News(News::PodGone(key, uid)))),
                Ok(false) => {}
                Err(why) => tracing::warn!(pod = %key, error = %why, "a pod cannot be read"),
            }
        });
    }

    fn protect(&mut self, sandbox: PolicySandbox, live: Live, answer: Answer) {
        let key = pod_of(&sandbox);
        let Some(pod) = live.pod else {
            let _ = answer.send(Err(Refused::NoPod(key.to_string())));
            return;
        };
        if let Err(why) = self.sandboxes().remember(&sandbox) {
            let _ = answer.send(Err(Refused::Unkept { pod: key.to_string(), why: why.to_string() }));
            return;
        }
        // First, because a pod without networks is of no interest otherwise.
        self.index.announce(&key, networks(&sandbox.networks));
        self.index.set_pod(key.clone(), pod);
        self.index.set_policies_of(&key.namespace, live.policies.all, live.policies.version);
        let wanted = self.index.render(&key).table;
        let inbox = self.inbox.clone();
        let done = move |outcome: Result<(), String>| {
            let refused = |why| Refused::Kernel { pod: key.to_string(), why };
            let _ = answer.send(outcome.clone().map_err(refused));
            let _ = inbox.send(Input::Done { pod: key, outcome });
        };
        let pod = pod_of(&sandbox);
        let netns = Some(sandbox.net_namespace);
        let is_final = self.unseen.is_empty();
        self.enforcer.enforce(Job {
            pod,
            wanted,
            must_have: true,
            netns,
            look: true,
            is_final,
            done: Box::new(done),
        });
    }

    fn release(&mut self, sandbox: &PolicySandbox, answer: Answer) {
        let key = pod_of(sandbox);
        if self.sandboxes().knows(&sandbox.container_id) {
            self.index.withdraw(&key);
        }
        let wanted = self.index.render(&key).table;
        let job_key = key.clone();
        let container_id = sandbox.container_id.clone();
        let (sandboxes, pod) = (self.sandboxes.clone(), key.to_string());
        let done = move |outcome: Result<(), String>| {
            lock(&sandboxes).forget(&container_id);
            let _ = answer.send(outcome.map_err(|why| Refused::Kernel { pod, why }));
        };
        self.enforcer.enforce(Job {
            pod: job_key,
            wanted,
            must_have: false,
            netns: None,
            look: true,
            is_final: self.unseen.is_empty(),
            done: Box::new(done),
        });
    }

    /// What attachments told before this start.
    fn announce_all(&mut self) {
        let told: Vec<PolicySandbox> = self.sandboxes().told().cloned().collect();
        for sandbox in told {
            self.index.announce(&pod_of(&sandbox), networks(&sandbox.networks));
        }
    }

    fn enforce_dirty(&mut self) {
        if !self.unseen.is_empty() {
            return;
        }
        for pod in self.index.take_dirty() {
            self.enforce(&pod, false);
        }
    }

    fn look_at_all(&mut self) {
        if !self.unseen.is_empty() {
            return;
        }
        let gone = self.sandboxes().sweep();
        for sandbox in gone {
            let key = pod_of(&sandbox);
            if self.sandboxes().of(&key).is_empty() {
                self.index.withdraw(&key);
            }
        }
        let pods: Vec<PodKey> = self.index.local_pods().cloned().collect();
        pods.iter().for_each(|pod| self.enforce(pod, true));
    }

    /// Has a pod's table edited. One that is not known is going, and keeps its rules to the end.
    fn enforce(&mut self, pod: &PodKey, look: bool) {
        let Some(known) = self.index.pod(pod) else { return };
        let must_have = !known.ended && !known.leaving;
        let wanted = self.index.render(pod).table;
        let (inbox, key) = (self.inbox.clone(), pod.clone());
        let done = move |outcome| drop(inbox.send(Input::Done { pod: key, outcome }));
        let done = Box::new(done);
        let is_final = self.unseen.is_empty();
        self.enforcer.enforce(Job { pod: pod.clone(), wanted, must_have, netns: None, look, is_final, done });
    }

    fn done(&mut self, pod: PodKey, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.told.remove(&pod);
            }
            Err(why) => {
                tracing::error!(%pod, why, "network policies are not in force as they should be");
                if self.told.insert(pod.clone()) {
                    tokio::spawn(events::post(self.client.clone(), Notice::unapplied(&pod, &why)));
                }
                self.again.insert(pod);
            }
        }
    }

    fn sandboxes(&self) -> MutexGuard<'_, Sandboxes> {
        lock(&self.sandboxes)
    }
}

/// Its operations leave it whole even if one of them panics.
fn lock(sandboxes: &Mutex<Sandboxes>) -> MutexGuard<'_, Sandboxes> {
    sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn networks(networks: &[PolicyNetwork]) -> impl Iterator<Item = (String, String)> {
    networks.iter().map(|network| (network.name.clone(), network.interface.clone()))
}
