//! Runs an [`Allocator`] against a [`Store`]: carries out its effects, overlapping, and gives the answers to callers.
//!
//! The only concurrent thing is one future that owns the machine; callers hold a [`Handle`]. It needs no runtime of
//! its own: whoever calls [`service`] spawns the future, and says what time is.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use polynic_net::Entropy;

use crate::{
    AddRequest, Allocator, Answer, Counters, Effect, Event, Failure, FailureReason, Millis, Pool,
    ReleaseRequest, RequestId, Settings, Store, observe,
};

/// Time, as the caller's runtime tells it.
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Millis;

    /// Waits until then.
    fn sleep_until(&self, then: Millis) -> impl Future<Output = ()> + Send;
}

/// What an allocator runs on.
pub struct Parts<S, C> {
    /// The cluster.
    pub store: Arc<S>,
    /// Time.
    pub clock: Arc<C>,
    /// Settings.
    pub settings: Settings,
    /// Spreads retries; two agents must not have the same.
    pub entropy: Entropy,
    /// Takes what went wrong without a caller to tell: for the log and an Event.
    pub warn: Box<dyn Fn(&str) + Send>,
}

/// Access to a running allocator. Copies share it; it ends when the last one is dropped and nothing is under way.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Mutex<Counters>>,
}

/// What a request came to, and how long that took before the work on it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The time in queues: before its pod, while other requests of the pod were under way, and before its pools.
    pub queued: Duration,
}

enum Command {
    Add(AddRequest, oneshot::Sender<Answered>),
    Release(ReleaseRequest, oneshot::Sender<Answered>),
    PoolSeen(Arc<Pool>),
}

impl Handle {
    /// Addresses for an interface: answered by the request's deadline.
    pub async fn add(&self, request: AddRequest) -> Answered {
        let subject = format!("pod {}, interface {}", request.pod, request.nic);
        self.ask(subject, |answer| Command::Add(request, answer)).await
    }

    /// Gives addresses back: answered by the request's deadline.
    pub async fn release(&self, request: ReleaseRequest) -> Answered {
        let subject = format!("pod {}", request.pod);
        self.ask(subject, |answer| Command::Release(request, answer)).await
    }

    /// Tells what a watch shows; saves reads and conflicts.
    pub fn pool_seen(&self, pool: Arc<Pool>) {
        // Without a machine there is nobody who could use it.
        let _ = self.commands.unbounded_send(Command::PoolSeen(pool));
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        subject: String,
        command: impl FnOnce(oneshot::Sender<Answered>) -> Command,
    ) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let _ = self.commands.unbounded_send(command(sender));
        let stopped = || FailureReason::Internal("the allocator has stopped".to_owned());
        let failed = |_| Answer::Failed(Failure { subject, why: stopped() });
        receiver.await.unwrap_or_else(|gone| Answered { answer: failed(gone), queued: Duration::ZERO })
    }
}

/// An allocator, and the future that runs it, which the caller spawns.
pub fn service<S: Store, C: Clock>(parts: Parts<S, C>) -> (Handle, impl Future<Output = ()> + Send) {
    let (commands, receiver) = mpsc::unbounded();
    let counters = Arc::new(Mutex::new(Counters::default()));
    let handle = Handle { commands, counters: counters.clone() };
    let machine = Allocator::new(parts.settings.clone(), parts.entropy.clone());
    let driver = Driver {
        machine,
        counters,
        parts: Shared { store: parts.store, clock: parts.clock, settings: Arc::new(parts.settings) },
        warn: parts.warn,
        answers: BTreeMap::new(),
        next: 0,
        tasks: FuturesUnordered::new(),
    };
    (handle, driver.run(receiver))
}

type Commands = mpsc::UnboundedReceiver<Command>;
type Task = Pin<Box<dyn Future<Output = Input> + Send>>;

enum Input {
    Event(Event),
    Command(Option<Command>, Commands),
}

struct Shared<S, C> {
    store: Arc<S>,
    clock: Arc<C>,
    settings: Arc<Settings>,
}

impl<S, C> Clone for Shared<S, C> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), clock: self.clock.clone(), settings: self.settings.clone() }
    }
}

struct Driver<S, C> {
    machine: Allocator,
    counters: Arc<Mutex<Counters>>,
    parts: Shared<S, C>,
    warn: Box<dyn Fn(&str) + Send>,
    answers: BTreeMap<RequestId, oneshot::Sender<Answered>>,
    next: u64,
    tasks: FuturesUnordered<Task>,
}

impl<S: Store, C: Clock> Driver<S, C> {
    async fn run(mut self, commands: Commands) {
        self.listen(commands);
        let mut open = true;
        while let Some(input) = self.tasks.next().await {
            match input {
                Input::Event(event) => self.step(event),
                Input::Command(None, _) => open = false,
                Input::Command(Some(command), commands) => {
                    self.listen(commands);
                    self.command(command);
                }
            }
            if !open && self.machine.is_idle() {
                return;
            }
        }
    }

    fn listen(&self, mut commands: Commands) {
        self.tasks.push(Box::pin(async move {
            let command = commands.next().await;
            Input::Command(command, commands)
        }));
    }

    fn command(&mut self, command: Command) {
        let id = RequestId(self.next);
        self.next += 1;
        match command {
            Command::Add(request, answer) => {
                self.answers.insert(id, answer);
                self.step(Event::Add(id, request));
            }
            Command::Release(request, answer) => {
                self.answers.insert(id, answer);
                self.step(Event::Release(id, request));
            }
            Command::PoolSeen(pool) => self.step(Event::PoolSeen(pool)),
        }
    }

    fn step(&mut self, event: Event) {
        let effects = self.machine.step(self.parts.clock.now(), event);
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.counters();
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(id, answer, queued) => {
                if let Some(caller) = self.answers.remove(&id) {
                    // A caller that has gone has its own deadline; the record stays until DEL or GC.
                    let _ = caller.send(Answered { answer, queued: Duration::from_millis(queued) });
                }
            }
            Effect::Warn(why) => (self.warn)(&why),
            Effect::WakeAt(then) => self.wake_at(then),
            call => self.tasks.push(Box::pin(call_store(self.parts.clone(), call))),
        }
    }

    fn wake_at(&self, then: Millis) {
        let clock = self.parts.clock.clone();
        self.tasks.push(Box::pin(async move {
            clock.sleep_until(then).await;
            Input::Event(Event::Time)
        }));
    }
}

/// One read or write, and the event that answers it.
async fn call_store<S: Store, C: Clock>(parts: Shared<S, C>, effect: Effect) -> Input {
    let store = parts.store.as_ref();
    Input::Event(match effect {
        Effect::Observe { id, pod, uid } => {
            Event::Observed(id, Box::new(observe(store, &parts.settings, &pod, &uid).await))
        }
        Effect::ReadPool(name) => {
            let read = store.pool(&name).await.map(|pool| pool.map(Arc::new));
            Event::PoolRead(name, read)
        }
        Effect::WritePool(write) => {
            let name = write.pool.clone();
            Event::PoolWritten(name, store.write_pool(write).await)
        }
        Effect::ReadEndpoint(key) => {
            let read = store.endpoint(&key).await;
            Event::EndpointRead(key, Box::new(read))
        }
        Effect::WriteEndpoint(write) => {
            let key = write.key().clone();
            Event::EndpointWritten(key, store.write_endpoint(write).await)
        }
        Effect::Answer(..) | Effect::WakeAt(_) | Effect::Warn(_) => Event::Time,
    })
}

#[cfg(test)]
mod tests;
