//! The templates that plugins fill in: main plugins this one, chained ones [`chained`].

mod chained;

use std::path::Path;

use polynic_cni::{Delegate, Error, GoMap, Invocation, PluginConf, Success, Verb, Version};
use polynic_kernel::Door;
use polynic_net::{Change, Entropy, Facts, IfName, Needs, Place, Plan, Probe};
use polynic_wire::{AddressServices, ReleaseJournal};

pub(crate) use chained::InChain;
pub use chained::{ChainedAttachment, ChainedPlugin};

/// What the driver works with: the same for every call of a process.
pub struct Context<'a> {
    /// The way to the kernel.
    pub door: &'a dyn Door,
    /// Directory of volatile state, `/run/polynic`: records and locks.
    pub state: &'a Path,
    /// Who calls IPAM plugins.
    pub delegate: &'a dyn Delegate,
    /// Finds the node agent.
    pub addresses: &'a dyn AddressServices,
    /// Where releases wait that no agent took.
    pub releases: &'a ReleaseJournal,
    /// Seeds for names and addresses; a new one each time.
    pub seed: &'a (dyn Fn() -> u64 + Sync),
    /// Where a message goes that is worth reading but no failure (the executable: stderr).
    pub warn: &'a (dyn Fn(&str) + Sync),
}

/// One call of one plugin, validated.
pub struct Call<'a> {
    /// The plugin's type.
    pub plugin: &'static str,
    /// How it was called.
    pub invocation: &'a Invocation,
    /// What it was called with.
    pub conf: &'a PluginConf,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
}

impl<'a> Call<'a> {
    /// Checks the interface name, which GC and STATUS do not have; there `lo` stands in and is not used.
    pub fn new(
        plugin: &'static str,
        invocation: &'a Invocation,
        conf: &'a PluginConf,
    ) -> Result<Self, Error> {
        let ifname = match invocation.ifname.as_str() {
            "" => IfName::loopback(),
            name => IfName::new(name).map_err(|e| Error::invalid_environment(e.to_string(), ""))?,
        };
        Ok(Self { plugin, invocation, conf, ifname })
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.conf.name
    }

    /// The container's id.
    pub fn container_id(&self) -> &str {
        &self.invocation.container_id
    }

    /// Whom the call is for, for people: the pod if the runtime named one, else the container, and network and interface.
    pub fn whom(&self) -> String {
        let who = match self.pod() {
            Some((namespace, name)) => format!("pod {namespace}/{name}"),
            None => format!("container {}", self.container_id()),
        };
        format!("{who}, network {:?}, interface {}, plugin {}", self.network(), self.ifname, self.plugin)
    }

    /// Namespace and name of the pod, if the runtime named one.
    pub fn pod(&self) -> Option<(String, String)> {
        let arg = |key: &str| {
            let pairs = self.invocation.args.split(';').filter_map(|p| p.split_once('='));
            pairs.into_iter().find(|(k, v)| *k == key && !v.is_empty()).map(|(_, v)| v.to_owned())
        };
        Some((arg("K8S_POD_NAMESPACE")?, arg("K8S_POD_NAME")?))
    }

    /// An error of this call: the cause as it is, and for whom it happened.
    pub fn error(&self, cause: impl std::fmt::Display) -> Error {
        self.explain(Error::internal(cause.to_string()))
    }

    /// Adds for whom the call was to an error that has no details of its own.
    pub fn explain(&self, error: Error) -> Error {
        if error.details.is_empty() { Error { details: self.whom(), ..error } } else { error }
    }

    /// Look-ups in what the runtime supplied for capabilities.
    pub fn runtime_config(&self) -> GoMap<'_> {
        GoMap(&self.conf.runtime_config)
    }
}

/// What a plugin will do, and what it will answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The changes.
    pub plan: Plan,
    /// The result of ADD.
    pub result: Success,
}

/// What DEL removes where no record says what was done: the documented rules of the replaced plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftovers {
    /// Links to delete.
    pub links: Vec<(Place, IfName)>,
    /// Further changes, each of which may find nothing to do.
    pub changes: Vec<Change>,
}

impl Leftovers {
    /// Just the interface in the pod.
    pub fn interface(call: &Call<'_>) -> Self {
        Self { links: vec![(Place::Pod, call.ifname.clone())], changes: Vec::new() }
    }
}

/// What the replaced plugin keeps on disk about an attachment. While a value lives, nobody else changes it.
///
/// ADD opens it before anything is observed and enters the attachment after everything is done; DEL opens it first and strikes it out
/// last, as a failed ADD does.
pub trait Ledger {
    /// Whether the device behind the attachment still is its own. If not, DEL leaves it to whoever has it now.
    fn is_ours(&self) -> bool;

    /// Enters the attachment; `facts` are those from before it was made.
    fn enter(&self, call: &Call<'_>, facts: &Facts, result: &Success) -> Result<(), Error>;

    /// Strikes the attachment out, and nobody else. One that is not entered is fine.
    fn strike(&self, call: &Call<'_>) -> Result<(), Error>;
}

/// An attachment that only the replaced plugin's files know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The container.
    pub container_id: String,
    /// The interface.
    pub ifname: String,
    /// Path of its namespace; empty: unknown.
    pub netns: String,
}

/// A main plugin: it reads configurations.
pub trait Attacher: Send + Sync {
    /// Its type.
    fn plugin_type(&self) -> &'static str;

    /// The protocol versions it accepts.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Reads and validates its configuration. Must need neither kernel nor files, so that DEL always gets past it.
    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error>;

    /// The log file that the configuration asks for.
    fn log(&self, _call: &Call<'_>) -> Result<Option<crate::log::Options>, Error> {
        Ok(None)
    }
}

/// Which part a plugin has in a network's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It makes the interface. One record per interface and type.
    Main,
    /// It changes what others made. One record per interface, type and configuration.
    Chained,
}

/// One attachment to be made, checked or removed.
pub trait Attachment {
    /// Its part in the chain.
    fn role(&self) -> Role {
        Role::Main
    }

    /// The IPAM plugin's type; empty: none.
    fn ipam_type<'a>(&self, call: &Call<'a>) -> &'a str {
        &call.conf.ipam_type
    }

    /// Whether its plans may contain shared changes. Only then is the lock of shared objects taken.
    fn shares(&self) -> bool {
        false
    }

    /// Opens what the replaced plugin keeps on disk, for ADD or DEL; ADD is refused if somebody else has what it wants.
    fn ledger(
        &self,
        _call: &Call<'_>,
        _verb: Verb,
        _context: &Context<'_>,
    ) -> Result<Option<Box<dyn Ledger>>, Error> {
        Ok(None)
    }

    /// Attachments of the call's network that only the replaced plugin's files may know, for GC.
    fn strays(&self, _call: &Call<'_>) -> Vec<Stray> {
        Vec::new()
    }

    /// What to observe: first without, then with the IPAM plugin's answer.
    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs;

    /// What to observe besides, now that `facts` are known; asked again with what that has shown.
    fn further_needs(&self, _call: &Call<'_>, _facts: &Facts) -> Needs {
        Needs::default()
    }

    /// Refuses what cannot work, before any address is reserved.
    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error>;

    /// What to ask the network before anything is done. Answers take their time, and the lock of shared objects is not held meanwhile.
    fn probes(&self, _call: &Call<'_>) -> Result<Vec<Probe>, Error> {
        Ok(Vec::new())
    }

    /// What to do. Pure: everything comes from the arguments.
    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error>;

    /// What DEL removes without a record.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers;

    /// What to observe for [`Attachment::leftovers`].
    fn leftover_needs(&self, _call: &Call<'_>) -> Needs {
        Needs::default()
    }

    /// What DEL removes of shared objects once nobody uses them, after its own are gone, from the facts of
    /// [`Attachment::leftover_needs`].
    fn sweep(&self, _call: &Call<'_>, _facts: &Facts) -> Vec<Change> {
        Vec::new()
    }

    /// Whether a device that the kernel gives back by itself has yet to come, from the facts of [`Attachment::leftover_needs`].
    fn awaits(&self, _call: &Call<'_>, _facts: &Facts) -> bool {
        false
    }

    /// CHECK beyond what plans promise, given prevResult and the facts of `needs(call, Some(prev))`.
    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error>;

    /// STATUS beyond the IPAM plugin's: whether ADD could work now. Errors should carry code 50.
    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error>;

    /// Which error ADD answers for a step that the kernel refused, where the plugin has words of its own.
    fn refused(&self, _call: &Call<'_>, _change: &Change, _cause: &str) -> Option<Error> {
        None
    }
}
