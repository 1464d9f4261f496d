//! The driver: everything about an attempt that is the same for every main plugin, and for every chained one.
//!
//! ADD is one path: read, open, lock, look for an earlier attempt, refuse what cannot work, reserve addresses, plan, note
//! the intent, apply, note that it is done. Whatever fails is taken back in reverse: kernel, addresses, record. DEL inverts
//! the record, or follows the replaced plugin's rules where there is none.

use std::path::Path;

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb, delegate_ipam};
use polynic_kernel::{Kernel, OpenError};

use crate::log::{Log, Options};
use crate::record::{self, Slot};
use crate::template::InChain;
use crate::{Attacher, Attachment, Call, ChainedPlugin, Context, Ledger, Role};

mod add;
mod check;
mod del;
mod gc;
mod lock;
mod renamed;
mod replaced;
mod status;
mod unreadable;
mod ways;

pub(crate) use add::describe;

/// Holds the lock of shared objects alone until it is dropped.
pub(crate) fn alone(state: &Path) -> std::io::Result<impl Sized> {
    let mut lock = lock::SharedLock::take(state)?;
    lock.make_exclusive()?;
    Ok(lock)
}

/// Calls a main plugin.
///
/// # Errors
/// The plugin's documented errors; anything else as code 999 with the cause as message, and pod, network and interface in the details.
pub fn run(
    attacher: &dyn Attacher,
    context: &Context<'_>,
    verb: Verb,
    invocation: &Invocation,
    conf: &PluginConf,
) -> Result<Output, Error> {
    let call = Call::new(attacher.plugin_type(), invocation, conf)?;
    let attachment = match attacher.read(&call) {
        Err(refused) if verb == Verb::Del => {
            Box::new(unreadable::Unreadable::main(refused, &call)) as Box<dyn Attachment>
        }
        read => read?,
    };
    let reader = |call: &Call<'_>| attacher.read(call);
    // Of a main plugin a log that cannot be opened keeps nobody from the network.
    let log = open_log(verb, attacher.log(&call), &call).unwrap_or_default();
    logged(log, &call, verb, || {
        perform(verb, &Job { context, call: &call, attachment: attachment.as_ref() }, &reader)
    })
}

/// Calls a chained plugin.
///
/// # Errors
/// As [`run`].
pub fn run_chained(
    plugin: &dyn ChainedPlugin,
    context: &Context<'_>,
    verb: Verb,
    invocation: &Invocation,
    conf: &PluginConf,
) -> Result<Output, Error> {
    let call = Call::new(plugin.plugin_type(), invocation, conf)?;
    let log = open_log(verb, plugin.log(&call), &call)?;
    logged(log, &call, verb, || call_chained(plugin, context, verb, &call))
}

/// Notes beginning and end of a call.
fn logged(
    mut log: Option<Log>,
    call: &Call<'_>,
    verb: Verb,
    perform: impl FnOnce() -> Result<Output, Error>,
) -> Result<Output, Error> {
    if let Some(log) = &mut log {
        log.begin(call, verb);
    }
    let outcome = perform();
    if let Some(log) = &mut log {
        log.outcome(call, verb, &outcome);
    }
    outcome
}

/// A log that was asked for and cannot be opened fails ADD, and nothing else.
fn open_log(
    verb: Verb,
    options: Result<Option<Options>, Error>,
    call: &Call<'_>,
) -> Result<Option<Log>, Error> {
    let open = || {
        let Some(options) = options? else { return Ok(None) };
        let (what, optional) = (format!("cannot open log file {}", options.file.display()), options.optional);
        match Log::open(options) {
            Err(_) if optional => Ok(None),
            opened => opened.map(Some).map_err(|e| call.error(format!("{what}: {e}"))),
        }
    };
    match verb {
        Verb::Add => open(),
        Verb::Del | Verb::Check => Ok(open().unwrap_or_default()),
        _ => Ok(None),
    }
}

fn call_chained(
    plugin: &dyn ChainedPlugin,
    context: &Context<'_>,
    verb: Verb,
    call: &Call<'_>,
) -> Result<Output, Error> {
    let reader = |call: &Call<'_>| {
        let read = plugin.read(call).map_err(|e| call.explain(e));
        read.map(|a| Box::new(InChain::attached(a, call)) as Box<dyn Attachment>)
    };
    let attachment = match (verb, plugin.read(call)) {
        (Verb::Del, Err(refused)) => {
            Box::new(unreadable::Unreadable::chained(refused, plugin.leftovers_unread(call)))
                as Box<dyn Attachment>
        }
        (Verb::Add, read) => {
            let read = read.map_err(|e| call.explain(e))?;
            Box::new(InChain::adding(read, call, context)?)
        }
        (_, read) => Box::new(InChain::attached(read.map_err(|e| call.explain(e))?, call)),
    };
    perform(verb, &Job { context, call, attachment: attachment.as_ref() }, &reader)
}

/// How GC makes attachments of its own out of calls of its own.
type Reader<'a> = dyn Fn(&Call<'_>) -> Result<Box<dyn Attachment>, Error> + 'a;

fn perform(verb: Verb, job: &Job<'_>, reader: &Reader<'_>) -> Result<Output, Error> {
    match verb {
        Verb::Add => add::add(job).map(Output::Success),
        Verb::Del => del::del(job).map(|()| Output::Empty),
        Verb::Check => check::check(job).map(|()| Output::Empty),
        Verb::Gc => gc::gc(reader, job).map(|()| Output::Empty),
        Verb::Status => status::status(job).map(|()| Output::Empty),
        Verb::Version => Ok(Output::Empty),
    }
}

/// The key of a configuration under which earlier results come.
const PREV_RESULT: &str = "prevResult";

/// A call with everything needed to serve it.
struct Job<'a> {
    context: &'a Context<'a>,
    call: &'a Call<'a>,
    attachment: &'a dyn Attachment,
}

impl Job<'_> {
    /// The container's records cannot be locked.
    fn unlockable(&self, why: &std::io::Error) -> Error {
        let directory = record::directory(self.context.state, self.call.container_id());
        self.call.error(format!("cannot lock the container's records in {}: {why}", directory.display()))
    }

    /// Where ADD keeps its record.
    fn slot(&self, directory: &Path) -> Slot {
        let (network, ifname, plugin) = (self.call.network(), self.call.ifname.as_str(), self.call.plugin);
        match self.attachment.role() {
            Role::Main => Slot::new(directory, network, ifname, plugin),
            Role::Chained => {
                let mut conf = self.call.conf.raw.clone();
                conf.retain(|key, _| !key.eq_ignore_ascii_case(PREV_RESULT));
                let configuration = record::digest(&conf.into());
                Slot::chained(directory, network, ifname, plugin, &configuration)
            }
        }
    }

    /// The record that DEL takes back.
    fn slot_to_remove(&self, directory: &Path) -> Slot {
        let (network, ifname, plugin) = (self.call.network(), self.call.ifname.as_str(), self.call.plugin);
        match self.attachment.role() {
            Role::Main => self.slot(directory),
            Role::Chained => {
                Slot::latest(directory, network, ifname, plugin).unwrap_or_else(|| self.slot(directory))
            }
        }
    }

    /// What a chained plugin was given to build on, as a digest; empty for a main plugin.
    fn given(&self) -> String {
        let prev = match self.attachment.role() {
            Role::Main => None,
            Role::Chained => self.call.conf.keys().get(PREV_RESULT),
        };
        prev.map(record::digest).unwrap_or_default()
    }

    /// The replaced plugin's files about the attachment, for ADD or DEL.
    fn ledger(&self, verb: Verb) -> Result<Option<Box<dyn Ledger>>, Error> {
        self.attachment.ledger(self.call, verb, self.context).map_err(|e| self.call.explain(e))
    }

    /// Calls the IPAM plugin, if the network has one.
    fn ipam(&self, verb: Verb) -> Result<Option<Success>, Error> {
        let ipam_type = self.attachment.ipam_type(self.call);
        if ipam_type.is_empty() {
            return Ok(None);
        }
        match delegate_ipam(self.context.delegate, ipam_type, verb, self.call.invocation)? {
            Output::Success(success) => Ok(Some(success)),
            _ => Ok(None),
        }
    }

    /// Opens both namespaces; the pod's must be there and be another than ours.
    fn open(&self) -> Result<Box<dyn Kernel>, Error> {
        let kernel = self.context.door.open(Some(&self.call.invocation.netns));
        let kernel = kernel.map_err(|e| self.call.error(e))?;
        self.refuse_own_netns(kernel.as_ref())?;
        Ok(kernel)
    }

    /// Opens both namespaces; without the pod's if it is gone or was never named.
    fn open_leniently(&self) -> Result<Box<dyn Kernel>, Error> {
        let netns = self.call.invocation.netns.as_str();
        let opened = match netns {
            "" => self.context.door.open(None),
            path => match self.context.door.open(Some(path)) {
                // Gone, or a file that no longer is a namespace (a reboot leaves such files behind).
                Err(OpenError::Missing(_) | OpenError::Foreign { .. }) => self.context.door.open(None),
                opened => opened,
            },
        };
        let kernel = opened.map_err(|e| self.call.error(e))?;
        self.refuse_own_netns(kernel.as_ref())?;
        Ok(kernel)
    }

    /// spec/cni.md 1.6, checked before anything is done.
    fn refuse_own_netns(&self, kernel: &dyn Kernel) -> Result<(), Error> {
        let same = kernel.pod_id().is_some_and(|pod| pod == kernel.host_id());
        if same && !self.call.invocation.netns_override { Err(Error::same_netns()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
