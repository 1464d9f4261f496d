//! The one thread that writes: takes all decisions that wait, runs them in order, commits once, tells everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use redb::{Database, WriteTransaction};

use super::hub::{Event, Hub};
use super::transaction::{Objects, Txn};
use super::{META, OBJECTS, Observer, StoreError, View, write_error};

/// Tells a writer how the commit of its group went.
pub(super) type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// A decision; true if what it staged is to be kept.
pub(super) type Job = Box<dyn FnOnce(&mut Txn<'_, '_>) -> (bool, Tell) + Send>;

/// Decisions that share one fsync at most; bounds the latency of the first of them.
const GROUP: usize = 256;

pub(super) struct Writer {
    pub(super) db: Arc<Database>,
    pub(super) hub: Arc<Hub>,
    pub(super) revision: u64,
    pub(super) observer: Observer,
}

/// What a group of decisions came to.
struct Group {
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
        let mut group = Group { events: Vec::new(), revision: self.revision, tell: Vec::new() };
        let result = self.commit(jobs, &mut group).and_then(|()| self.publish(&group));
        for tell in group.tell {
            tell(result.clone());
        }
    }

    /// What is durable is shown to everybody before its writers are answered.
    fn publish(&mut self, group: &Group) -> Result<(), StoreError> {
        self.revision = group.revision;
        if !group.events.is_empty() {
            (self.observer)(&group.events);
            self.hub.publish(&group.events, View::open(&self.db)?);
        }
        Ok(())
    }

    fn commit(&self, jobs: Vec<Job>, group: &mut Group) -> Result<(), StoreError> {
        let write = self.db.begin_write().map_err(write_error)?;
        {
            let mut objects = write.open_table(OBJECTS).map_err(write_error)?;
            for job in jobs {
                decide(job, &mut objects, group)?;
            }
        }
        finish(write, group)
    }
}

/// Runs one decision and carries what it staged into the table, where the next one of the group sees it.
fn decide(job: Job, objects: &mut Objects<'_>, group: &mut Group) -> Result<(), StoreError> {
    let mut txn = Txn::new(objects, group.revision);
    // A decision that panics is a defect, but it may only cost its own caller the answer.
    let Ok((keep, tell)) = catch_unwind(AssertUnwindSafe(|| job(&mut txn))) else {
        tracing::error!("a decision on the object store panicked; its request fails");
        return Ok(());
    };
    group.tell.push(tell);
    if !keep || txn.discarded {
        return Ok(());
    }
    let Txn { staged, events, revision, .. } = txn;
    for (key, body) in staged {
        match body {
            Some(body) => objects.insert(key.as_str(), body.as_ref()).map_err(write_error)?,
            None => objects.remove(key.as_str()).map_err(write_error)?,
        };
    }
    group.events.extend(events);
    group.revision = revision;
    Ok(())
}

fn finish(write: WriteTransaction, group: &Group) -> Result<(), StoreError> {
    if group.events.is_empty() {
        return write.abort().map_err(write_error);
    }
    write.open_table(META).map_err(write_error)?.insert("revision", group.revision).map_err(write_error)?;
    write.commit().map_err(write_error)
}
