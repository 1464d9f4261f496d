//! One pool's queue: whoever comes while a write is under way waits, and goes with the next one together with all others.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, oneshot};

/// Something that is wanted, and where the answer goes.
pub(super) type Job<J, A> = (J, oneshot::Sender<A>);

/// A queue.
pub(super) struct Lane<J, A> {
    waiting: Mutex<Vec<Job<J, A>>>,
    turn: Turn<()>,
}

impl<J, A> Default for Lane<J, A> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Turn::new(()) }
    }
}

impl<J, A> Lane<J, A> {
    /// Has a job done: with those that others do, or, when it is our turn, with all that wait. None: whoever did it was interrupted.
    pub(super) async fn ride(self: Arc<Self>, job: J, work: impl AsyncFnOnce(Vec<Job<J, A>>)) -> Option<A> {
        let (reply, mut answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((job, reply));
        tokio::select! {
            biased;
            answer = &mut answer => return answer.ok(),
            _turn = self.turn.lock() => {
                let jobs = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
                if !jobs.is_empty() {
                    work(jobs).await;
                }
            }
        }
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_come_during_a_write_go_together() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sizes = runtime.block_on(async {
            let lane = Arc::new(Lane::<u32, u32>::default());
            let sizes = Arc::new(Mutex::new(Vec::new()));
            let tasks = (0..50).map(|n| {
                let (lane, sizes) = (lane.clone(), sizes.clone());
                tokio::spawn(async move {
                    let work = async |jobs: Vec<Job<u32, u32>>| {
                        sizes.lock().unwrap().push(jobs.len());
                        tokio::task::yield_now().await;
                        for (job, reply) in jobs {
                            reply.send(job * 2).unwrap();
                        }
                    };
                    assert_eq!(lane.ride(n, work).await, Some(n * 2));
                })
            });
            futures::future::join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
            Arc::into_inner(sizes).unwrap().into_inner().unwrap()
        });
        assert_eq!(sizes.iter().sum::<usize>(), 50);
        assert!(sizes.len() <= 3, "{sizes:?}");
    }
}
