//! Objects, revisions and watches over one durable file. Pure key, value and JSON: no HTTP, no kinds.
//!
//! A key is a path such as `core/pods/default/samplepod`; a value is a JSON object whose `metadata.resourceVersion`
//! the store sets. Every change of an object gets the next revision of the whole store. Writers hand in a function
//! that decides on a [`Txn`]; one thread runs these functions one after another, so a decision never sees a half-done
//! neighbour, and makes all that wait at that moment durable with one fsync (group commit). An answer is given only
//! after the fsync. Objects are in memory too: readers never wait for the file. A watch sees every change of its prefix once, in
//! order, or ends.

mod file;
mod hub;
mod objects;
mod transaction;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::hub::{Change, Event, Watcher};
pub use self::transaction::Txn;

use self::file::File;
use self::hub::Hub;
use self::writer::{Job, Writer};

/// What can go wrong beneath an object. Cloned to every writer of a failed group.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, or is not a store.
    #[error("cannot open the object store {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<redb::Error>,
    },
    /// The file was written by a later release.
    #[error("the object store {path} has format {found}, this program knows another")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: u64,
    },
    /// Reading failed.
    #[error("cannot read the object store: {0}")]
    Read(Arc<redb::Error>),
    /// Nothing of the group was written.
    #[error("cannot write the object store: {0}")]
    Write(Arc<redb::Error>),
    /// A value is no JSON object.
    #[error("the stored object {key} is damaged: {detail}")]
    Damaged {
        /// Its key.
        key: String,
        /// The parser's words.
        detail: String,
    },
    /// The writer thread cannot be started.
    #[error("cannot start the store's writer thread: {0}")]
    Thread(Arc<std::io::Error>),
    /// The store is being shut down, or the decision itself failed badly.
    #[error("the object store did not answer")]
    Stopped,
    /// The asked-for revision is older than what is held for watches.
    #[error("too old resource version: {asked} ({oldest})")]
    Compacted {
        /// Where the client wanted to go on from.
        asked: u64,
        /// The oldest revision from which that is possible.
        oldest: u64,
    },
    /// The asked-for revision is not reached yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future {
        /// What the client has heard of.
        asked: u64,
        /// The last one that there is.
        current: u64,
    },
}

/// Bounds of what the store keeps in memory for watches.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events kept so that a watch can start in the past.
    pub window_events: usize,
    /// Bytes of objects in these events.
    pub window_bytes: usize,
    /// Events that one slow watcher may be behind before it is ended.
    pub watcher_buffer: usize,
    /// Bytes of objects in these events.
    pub watcher_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window_events: 10_000, window_bytes: 8 << 20, watcher_buffer: 1024, watcher_bytes: 32 << 20 }
    }
}

/// Called in the writer's thread after a commit, before its writers are answered.
pub type Observer = Box<dyn FnMut(&[Arc<Event>]) + Send>;

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Its JSON text.
    pub body: Bytes,
}

/// A consistent part of the store.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The revision of the snapshot.
    pub revision: u64,
    /// Objects in key order.
    pub items: Vec<Stored>,
    /// Objects that the limit cut off.
    pub rest: usize,
}

/// Which part of the store is listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range<'a> {
    /// Keys start with this.
    pub prefix: &'a str,
    /// The first key, or what would come before it; empty from the beginning.
    pub start: &'a str,
    /// How many at most; 0 for all.
    pub limit: usize,
}

impl<'a> Range<'a> {
    /// All keys that start with `prefix`.
    pub fn under(prefix: &'a str) -> Self {
        Self { prefix, ..Self::default() }
    }
}

/// The object store; closing happens on drop, after all writes that were accepted.
pub struct Store {
    hub: Arc<Hub>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store at `path`, creating it if it is not there.
    pub fn open(path: &Path, limits: Limits, observer: Observer) -> Result<Self, StoreError> {
        let (file, objects, revision) = File::open(path)?;
        let hub = Arc::new(Hub::new(revision, objects, limits));
        let (jobs, queue) = mpsc::channel();
        let writer = Writer { file, hub: hub.clone(), revision, observer };
        let writer =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(&queue));
        let writer = writer.map_err(|e| StoreError::Thread(Arc::new(e)))?;
        Ok(Self { hub, jobs: Some(jobs), writer: Some(writer) })
    }

    /// The object at `key`, as of the last commit.
    pub fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.hub.get(key).map(|body| Stored { key: key.into(), body }))
    }

    /// The objects in `range`, as of the last commit.
    pub fn list(&self, range: Range<'_>) -> Result<Listing, StoreError> {
        Ok(self.hub.list(range))
    }

    /// The same as of `revision`, which must not be too long ago.
    pub fn list_at(&self, range: Range<'_>, revision: u64) -> Result<Listing, StoreError> {
        self.hub.list_at(range, revision)
    }

    /// Runs `decide` alone against the current state. If it returns `Ok`, what it staged is durable when this returns;
    /// if it returns an error, nothing of it happened.
    pub async fn transact<T, E, F>(&self, decide: F) -> Result<T, E>
    where
        F: FnOnce(&mut Txn<'_, '_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |txn| {
            let result = decide(txn);
            let keep = result.is_ok();
            let tell = move |committed: Result<(), StoreError>| {
                // The client may have gone meanwhile; what it asked for is done all the same.
                let _ = reply.send(match committed {
                    Ok(()) => result,
                    Err(error) => result.and(Err(error.into())),
                });
            };
            (keep, Box::new(tell))
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Stopped)?;
        jobs.send(job).map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Every change after revision `since` of objects whose keys start with `prefix`.
    pub fn watch(&self, prefix: &str, since: u64) -> Result<Watcher, StoreError> {
        self.hub.watch(prefix, since)
    }

    /// The last revision whose events every watcher has in its buffer.
    pub fn published(&self) -> u64 {
        self.hub.published()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed its callers; there is nobody to tell here.
            let _ = writer.join();
        }
    }
}
