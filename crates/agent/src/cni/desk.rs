//! Plain threads for calls: as many as there is work for, up to a bound for each lane. Calls of one pod run one after the other.
//!
//! No thread of the runtime works here: plugins enter namespaces, and wait.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use polynic_kernel::memory;

use super::order::{Lane, Order, Whose};

/// After so long without work a thread ends, and its stack goes.
const IDLE: Duration = Duration::from_secs(10);
/// What calls needed is given back after so many of them, once nothing has come for a while: nobody is to wait for it.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(200);
/// Enough for any call; only what is touched costs memory.
const STACK: usize = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// Takes calls, and has them done.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    order: Order<Job>,
    threads: usize,
    /// Threads that wait for work and have not been called yet.
    idle: usize,
    /// Calls that no thread has heard yet.
    calls: usize,
    /// Threads that have been started and have not looked for work yet.
    starting: usize,
    /// Calls that were done since memory was given back.
    done: usize,
}

impl Desk {
    /// A desk with at most so many threads for each lane.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), limit: limit.max(1) }))
    }

    /// Has work done after everything that it has to wait for, see [`Order`].
    ///
    /// # Errors
    /// There is no thread, and none can be made. The work is done by the next one, if there ever is one.
    pub(crate) fn submit(
        &self,
        lane: Lane,
        whose: Whose<'_>,
        job: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        state.order.push(lane, whose, Box::new(job));
        let roused = self.0.rouse(&mut state);
        if state.threads == 0 { roused } else { Ok(()) }
    }

    /// Calls that nobody serves yet.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().order.waiting()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a thread for each piece of work that could be done now, beside those that are on their way. So no two pieces of work count
    /// on the same thread.
    fn rouse(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        while state.order.runnable(self.limit) > state.calls + state.starting {
            if state.idle > 0 {
                state.idle -= 1;
                state.calls += 1;
                self.work.notify_one();
                continue;
            }
            let shared = self.clone();
            thread::Builder::new().name("cni".to_owned()).stack_size(STACK).spawn(move || shared.serve())?;
            state.threads += 1;
            state.starting += 1;
        }
        Ok(())
    }

    fn serve(self: &Arc<Self>) {
        let mut state = self.lock();
        state.starting -= 1;
        loop {
            while let Some((ticket, job)) = state.order.next(self.limit) {
                // What is left without a thread is done by the next that is free.
                let _ = self.rouse(&mut state);
                drop(state);
                // The one who waits for the answer hears of a panic by its end of the channel.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.order.done(&ticket);
                state.done += 1;
            }
            state.idle += 1;
            state = self.rest(state);
            if state.calls == 0 {
                state.idle -= 1;
                state.threads -= 1;
                if state.threads == 0 && std::mem::take(&mut state.done) > 0 {
                    drop(state);
                    // Nobody comes for now.
                    memory::give_back();
                }
                return;
            }
            state.calls -= 1;
        }
    }

    /// Waits for a call, and uses the time, if no other thread has done anything in it either. Whoever calls this thread meanwhile finds it when
    /// it has given back.
    fn rest<'s>(&'s self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let before = state.done;
        let mut state = self.wait(state, PAUSE);
        if state.calls == 0 && state.done == before && state.done >= BURST {
            state.done = 0;
            drop(state);
            memory::give_back();
            state = self.lock();
        }
        self.wait(state, IDLE)
    }

    fn wait<'s>(&'s self, state: MutexGuard<'s, State>, patience: Duration) -> MutexGuard<'s, State> {
        let is_quiet = |state: &mut State| state.calls == 0;
        let waited = self.work.wait_timeout_while(state, patience, is_quiet);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn pod(key: &str) -> Whose<'_> {
        Whose { key, sandbox: "", overtakes: false }
    }

    #[test]
    fn never_more_at_once_than_the_bound_and_never_two_of_one_pod() {
        let desk = Desk::new(4);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, finished) = mpsc::channel();
        for number in 0..200 {
            let (running, most, done) = (running.clone(), most.clone(), done.clone());
            let key = format!("pod-{}", number % 10);
            let told = key.clone();
            let job = move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                done.send((told, number)).unwrap();
            };
            desk.submit(Lane::Patient, pod(&key), job).unwrap();
        }
        drop(done);
        let finished: Vec<(String, i32)> = finished.iter().collect();
        assert_eq!(finished.len(), 200);
        assert!(most.load(Ordering::SeqCst) <= 4);
        for number in 0..10 {
            let key = format!("pod-{number}");
            let order: Vec<i32> = finished.iter().filter(|(k, _)| *k == key).map(|(_, n)| *n).collect();
            assert!(order.is_sorted(), "{key}: {order:?}");
        }
    }

    #[test]
    fn a_panic_costs_one_call_and_no_thread() {
        let desk = Desk::new(1);
        let (done, finished) = mpsc::channel::<&str>();
        let lost = done.clone();
        desk.submit(Lane::Patient, pod("a"), move || {
            let _lost = lost;
            panic!("on purpose");
        })
        .unwrap();
        desk.submit(Lane::Patient, pod("a"), move || done.send("served").unwrap()).unwrap();
        assert_eq!(finished.iter().collect::<Vec<_>>(), ["served"]);
    }

    /// Longer than any machine is busy.
    const LONG: Duration = Duration::from_secs(60);

    /// A piece of work that says that it has begun, and waits until it is let go.
    fn held(began: &mpsc::Sender<()>) -> (impl FnOnce() + Send + use<>, mpsc::Sender<()>) {
        let (began, (release, released)) = (began.clone(), mpsc::channel());
        let job = move || {
            began.send(()).unwrap();
            let _ = released.recv();
        };
        (job, release)
    }

    #[test]
    fn two_pods_that_come_at_once_do_not_count_on_the_same_idle_thread() {
        let desk = Desk::new(8);
        for round in 0..50 {
            let (began, begun) = mpsc::channel();
            let (warm, release) = held(&began);
            desk.submit(Lane::Patient, pod("warm"), warm).unwrap();
            begun.recv_timeout(LONG).unwrap();
            drop(release);
            // One thread is idle now, or about to be.
            let (first, _one) = held(&began);
            let (second, _two) = held(&began);
            desk.submit(Lane::Patient, pod("first"), first).unwrap();
            desk.submit(Lane::Patient, pod("second"), second).unwrap();
            for _ in 0..2 {
                begun.recv_timeout(LONG).unwrap_or_else(|_| panic!("round {round}: one waits for the other"));
            }
        }
    }

    #[test]
    fn what_must_not_wait_runs_beside_a_lane_that_is_full() {
        let desk = Desk::new(2);
        let (began, begun) = mpsc::channel();
        let mut holds = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let (job, release) = held(&began);
            holds.push(release);
            desk.submit(Lane::Patient, pod(name), job).unwrap();
        }
        for _ in 0..2 {
            begun.recv_timeout(LONG).unwrap();
        }
        let (done, finished) = mpsc::channel();
        desk.submit(Lane::Prompt, pod("gone"), move || done.send(()).unwrap()).unwrap();
        finished.recv_timeout(LONG).unwrap();
        assert_eq!((desk.waiting(), begun.try_recv().is_err()), (2, true));
        drop(holds);
        for _ in 0..2 {
            begun.recv_timeout(LONG).unwrap();
        }
    }
}
