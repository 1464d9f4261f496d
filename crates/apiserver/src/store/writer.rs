//! The one thread that writes: takes all decisions that wait, runs them in order, commits once, tells everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use super::file::File;
use super::hub::{Event, Hub};
use super::objects::{Objects, Overlay};
use super::transaction::Txn;
use super::{Observer, StoreError};

/// Tells a writer how the commit of its group went.
pub(super) type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A decision; true if what it staged is to be kept.
pub(super) type Job = Box<dyn FnOnce(&mut Txn<'_, '_>) -> (bool, Tell) + Send>;

/// Decisions that share one fsync at most; bounds the latency of the first of them.
const GROUP: usize = 256;

pub(super) struct Writer {
    pub(super) file: File,
    pub(super) hub: Arc<Hub>,
    pub(super) revision: u64,
    pub(super) observer: Observer,
}

/// What a group of decisions came to.
struct Group {
    changes: Overlay,
    events: Vec<Arc<Event>>,
    revision: u64,
    tell: Vec<Tell>,
}

impl Writer {
    /// Serves decisions until every sender is gone.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let jobs = std::iter::once(first).chain(queue.try_iter().take(GROUP - 1)).collect();
            self.serve(jobs);
        }
    }

    fn serve(&mut self, jobs: Vec<Job>) {
        let mut group =
            Group { changes: Overlay::new(), events: Vec::new(), revision: self.revision, tell: Vec::new() };
        self.hub.with_objects(|objects| {
            for job in jobs {
                decide(job, objects, &mut group);
            }
        });
        let result = self.commit(&group);
        let Group { changes, events, revision, tell } = group;
        if result.is_ok() && !events.is_empty() {
            self.revision = revision;
            (self.observer)(&events);
            self.hub.publish(changes, &events);
        }
        for tell in tell {
            tell(result.clone());
        }
    }

    fn commit(&mut self, group: &Group) -> Result<(), StoreError> {
        if group.events.is_empty() {
            return Ok(());
        }
        self.file.commit(&group.changes, group.revision)
    }
}

/// Runs one decision and keeps what it staged, where the next one of the group sees it.
fn decide(job: Job, objects: &Objects, group: &mut Group) {
    let mut txn = Txn::new(objects, &group.changes, group.revision);
    // A decision that panics is a defect, but it may only cost its own caller the answer.
    let Ok((keep, tell)) = catch_unwind(AssertUnwindSafe(|| job(&mut txn))) else {
        tracing::error!("a decision on the object store panicked; its request fails");
        return;
    };
    let Txn { staged, events, revision, discarded, .. } = txn;
    group.tell.push(tell);
    if keep && !discarded {
        group.changes.extend(staged);
        group.events.extend(events);
        group.revision = revision;
    }
}
