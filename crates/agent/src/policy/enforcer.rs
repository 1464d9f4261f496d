//! The threads that edit pods' tables. A pod belongs to one thread, so its edits keep their order.
//!
//! A namespace's sockets are open only during an edit: an open one would keep the namespace, and with it the pod's links and addresses,
//! alive after the pod.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use polynic_kernel::{Door, Kernel, KernelError, NetnsId};
use polynic_net::{FwEdit, FwFamily, FwTable, Place};
use polynic_policy::{PodKey, PodTable, table};

use super::connections;
use super::sandboxes::Sandboxes;

/// Closing a socket can wait for the kernel's clean-up: several pods wait at the same time.
const THREADS: usize = 4;

/// One pod's table.
pub(super) struct Job {
    pub(super) pod: PodKey,
    /// What the table should be; none is no table.
    pub(super) wanted: Option<PodTable>,
    /// Whether it is an error if no namespace of the pod can be found.
    pub(super) must_have: bool,
    /// A namespace beside those that are known to be the pod's.
    pub(super) netns: Option<String>,
    /// Look at the kernel even if nothing has changed here: somebody else may have changed it.
    pub(super) look: bool,
    /// Whether all of the cluster is known: until then what the table does not allow may only not be known yet, and no connection is cut.
    pub(super) is_final: bool,
    /// Gets what became of it.
    pub(super) done: Box<dyn FnOnce(Result<(), String>) + Send>,
}

/// The threads.
pub(super) struct Enforcer {
    queues: Vec<mpsc::Sender<Job>>,
}

impl Enforcer {
    /// Starts the threads; they end with this value.
    ///
    /// # Errors
    /// There cannot be as many threads.
    pub(super) fn start(door: Arc<dyn Door>, sandboxes: Arc<Mutex<Sandboxes>>) -> io::Result<Self> {
        let start = |number: usize| {
            let (queue, jobs) = mpsc::channel::<Job>();
            let mut worker = Worker {
                door: door.clone(),
                sandboxes: sandboxes.clone(),
                applied: HashMap::new(),
                uncut: HashSet::new(),
            };
            let thread = thread::Builder::new().name(format!("policy-{number}"));
            thread.spawn(move || jobs.into_iter().for_each(|job| worker.perform(job)))?;
            Ok(queue)
        };
        Ok(Self { queues: (0..THREADS).map(start).collect::<io::Result<_>>()? })
    }

    /// Takes a job.
    pub(super) fn enforce(&self, job: Job) {
        let mut hasher = DefaultHasher::new();
        job.pod.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % THREADS as u64).unwrap_or_default();
        // A queue without a thread drops the job, and whoever waits for it hears of that.
        if self.queues[at].send(job).is_err() {
            tracing::error!("a thread that edits tables has ended, which is a defect");
        }
    }
}

struct Worker {
    door: Arc<dyn Door>,
    sandboxes: Arc<Mutex<Sandboxes>>,
    /// What is in force, as far as we did it. Identities of namespaces are used again, so the path counts as well.
    applied: HashMap<Namespace, Option<PodTable>>,
    /// Namespaces whose connections have still to be compared with the table.
    uncut: HashSet<Namespace>,
}

/// A namespace by its path and identity.
type Namespace = (String, NetnsId);

impl Worker {
    fn perform(&mut self, job: Job) {
        let outcome = self.enforce(&job);
        (job.done)(outcome);
    }

    fn enforce(&mut self, job: &Job) -> Result<(), String> {
        if job.look {
            self.applied.retain(|(path, _), _| Path::new(path).exists());
            self.uncut.retain(|(path, _)| Path::new(path).exists());
        }
        let mut paths = self.paths(&job.pod, job.wanted.is_some());
        paths.extend(job.netns.clone());
        if paths.is_empty() && job.must_have && job.wanted.is_some() {
            return Err("no network namespace of the pod is known".to_owned());
        }
        let mut failed = Vec::new();
        for path in &paths {
            match self.in_namespace(path, job) {
                Err(why) if job.netns.as_ref() == Some(path) || Path::new(path).exists() => {
                    failed.push(format!("{path}: {why}"));
                }
                // A namespace that has gone meanwhile needs no rules.
                _ => {}
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn paths(&self, pod: &PodKey, must_exist: bool) -> BTreeSet<String> {
        let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sandboxes.of(pod);
        if known.is_empty() && must_exist {
            sandboxes.look_again();
            return sandboxes.of(pod);
        }
        known
    }

    fn in_namespace(&mut self, path: &str, job: &Job) -> Result<(), String> {
        let mut kernel = self.door.open(Some(path)).map_err(|why| why.to_string())?;
        let id = kernel.pod_id().ok_or("the pod's network namespace is gone")?;
        if id == kernel.host_id() {
            return Err("this is the node's own network namespace".to_owned());
        }
        let namespace = (path.to_owned(), id);
        let known = self.applied.remove(&namespace);
        let is_looked_at = known.is_none() || job.look;
        let wanted = job.wanted.as_ref();
        let edited = match &known {
            Some(applied) if !job.look => edit(kernel.as_mut(), changed(applied.as_ref(), wanted)),
            known => converge(kernel.as_mut(), known.as_ref().and_then(Option::as_ref), wanted),
        };
        // What we knew may not have been so: look, and try once more.
        let edited = edited.or_else(|_| converge(kernel.as_mut(), None, wanted));
        let edits = edited.map_err(|why| why.to_string())?;
        if is_looked_at {
            retire_iptables_agent(kernel.as_mut(), &job.pod);
        }
        if connections::may_tighten(&edits) {
            self.uncut.insert(namespace.clone());
        }
        if job.is_final
            && self.uncut.remove(&namespace)
            && let Some(wanted) = wanted
        {
            cut_connections(kernel.as_mut(), &job.pod, wanted);
        }
        self.applied.insert(namespace, job.wanted.clone());
        Ok(())
    }
}

/// Takes the retired iptables agent's chains away (spec/multi-networkpolicy.md 5), with what leads to them. They are in iptables' own table,
/// where its nf_tables variant keeps them; those of the legacy variant cannot be reached by netlink. Our table is in force whatever becomes of
/// this.
fn retire_iptables_agent(kernel: &mut dyn Kernel, pod: &PodKey) {
    let mut is_its = |chain: &str| chain.starts_with("MULTI-");
    let tables = [FwFamily::Ip, FwFamily::Ip6].map(|family| FwTable::new(family, "filter"));
    let gone = tables.iter().map(|table| kernel.remove_chains(Place::Pod, table, &mut is_its));
    match gone.sum::<Result<usize, KernelError>>() {
        Ok(0) => {}
        Ok(chains) => tracing::info!(%pod, chains, "rules of the retired iptables agent are taken away"),
        Err(why) => tracing::warn!(%pod, error = %why, "rules of the retired iptables agent stay in force"),
    }
}

/// The table is in force whatever becomes of this.
fn cut_connections(kernel: &mut dyn Kernel, pod: &PodKey, wanted: &PodTable) {
    match connections::cut(kernel, wanted) {
        Ok(0) => {}
        Ok(count) => tracing::info!(%pod, count, "connections that policies no longer allow are cut"),
        Err(why) => tracing::warn!(%pod, error = %why, "connections that policies no longer allow may go on"),
    }
}

/// Looks what is there and makes it what it should be; answers what it did. `last` is what we made of it, if we did.
fn converge(
    kernel: &mut dyn Kernel,
    last: Option<&PodTable>,
    wanted: Option<&PodTable>,
) -> Result<Vec<FwEdit>, KernelError> {
    let there = kernel.inventory(Place::Pod, &table())?;
    let edits = match (&there, wanted) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![FwEdit::RemoveTable],
        (None, Some(wanted)) => wanted.creation(),
        (Some(there), Some(wanted)) if last == Some(wanted) && wanted.has_the_names_of(there) => Vec::new(),
        (Some(there), Some(wanted)) => wanted.replacement(there),
    };
    edit(kernel, edits)
}

fn changed(old: Option<&PodTable>, new: Option<&PodTable>) -> Vec<FwEdit> {
    match (old, new) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![FwEdit::RemoveTable],
        (None, Some(new)) => new.creation(),
        (Some(old), Some(new)) => new.edits_from(old),
    }
}

fn edit(kernel: &mut dyn Kernel, edits: Vec<FwEdit>) -> Result<Vec<FwEdit>, KernelError> {
    kernel.edit_table(Place::Pod, &table(), &edits)?;
    Ok(edits)
}

#[cfg(test)]
mod tests;
