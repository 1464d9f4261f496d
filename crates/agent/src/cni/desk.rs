//! Plain threads for calls: as many as there is work for, up to a bound. Calls of one pod run one after the other.
//!
//! No thread of the runtime works here: plugins enter namespaces, and wait.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::order::Order;

/// After so long without work a thread ends, and gives its memory back.
const IDLE: Duration = Duration::from_secs(20);
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
    idle: usize,
}

impl Desk {
    /// A desk with at most so many threads.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), limit: limit.max(1) }))
    }

    /// Has work done after everything that came before under the same key.
    ///
    /// # Errors
    /// There is no thread, and none can be made. The work is done by the next one, if there ever is one.
    pub(crate) fn submit(&self, key: &str, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.lock();
        state.order.push(key, Box::new(job));
        if state.idle > 0 {
            self.0.work.notify_one();
            return Ok(());
        }
        if state.threads >= self.0.limit {
            return Ok(());
        }
        let shared = self.0.clone();
        let started =
            thread::Builder::new().name("cni".to_owned()).stack_size(STACK).spawn(move || shared.serve());
        match started {
            Ok(_) => state.threads += 1,
            Err(why) if state.threads == 0 => return Err(why),
            Err(_) => {}
        }
        Ok(())
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

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some((key, job)) = state.order.next() {
                drop(state);
                // The one who waits for the answer hears of a panic by its end of the channel.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.order.done(key);
                continue;
            }
            state.idle += 1;
            let (woken, timeout) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && !state.order.has_ready() {
                state.threads -= 1;
                if state.threads == 0 {
                    drop(state);
                    // Nobody comes for now: what the last burst needed is free.
                    polynic_kernel::memory::give_back();
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

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
            desk.submit(&key, job).unwrap();
        }
        drop(done);
        let finished: Vec<(String, i32)> = finished.iter().collect();
        assert_eq!(finished.len(), 200);
        assert!(most.load(Ordering::SeqCst) <= 4);
        for pod in 0..10 {
            let key = format!("pod-{pod}");
            let order: Vec<i32> = finished.iter().filter(|(k, _)| *k == key).map(|(_, n)| *n).collect();
            assert!(order.is_sorted(), "{key}: {order:?}");
        }
    }

    #[test]
    fn a_panic_costs_one_call_and_no_thread() {
        let desk = Desk::new(1);
        let (done, finished) = mpsc::channel::<&str>();
        let lost = done.clone();
        desk.submit("a", move || {
            let _lost = lost;
            panic!("on purpose");
        })
        .unwrap();
        desk.submit("a", move || done.send("served").unwrap()).unwrap();
        assert_eq!(finished.iter().collect::<Vec<_>>(), ["served"]);
    }
}
