//! The built-in plugins, called in this process.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use polynic_cni::{
    Delegate, Error, Exec, Invocation, Output, PluginConf, PluginMain, Verb, Version, dispatch::invoke,
};
use polynic_kernel::Door;
use polynic_wire::{AddressServices, ReleaseJournal};

use crate::{
    Attacher, ChainedPlugin, Context, Plugin, drive, ifacer, interfaces, ipam, meta, passthru, routing,
};

/// What plugins need of the process they run in.
pub struct Host {
    /// The way to the kernel.
    pub door: Box<dyn Door>,
    /// Directory of volatile state, `/run/polynic`.
    pub state: PathBuf,
    /// Device and inode of our own executable: a file in CNI_PATH that is this one is built in.
    pub executable: Option<(u64, u64)>,
    /// Finds the node agent: in this process, or behind the socket that a configuration names.
    pub addresses: Box<dyn AddressServices>,
    /// Where releases wait that no agent took.
    pub releases: ReleaseJournal,
    /// Makes seeds.
    pub seed: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Takes messages that are worth reading but no failures.
    pub warn: Box<dyn Fn(&str) + Send + Sync>,
}

/// Calls plugins by type: built-in ones in this process, others as executables.
pub struct Registry {
    host: Host,
    foreign: Exec,
}

/// A built-in plugin, by who answers its calls.
#[derive(Clone, Copy)]
enum Builtin {
    Main(&'static dyn Attacher),
    Chained(&'static dyn ChainedPlugin),
    Itself(&'static dyn Plugin),
}

impl Builtin {
    fn plugin_type(self) -> &'static str {
        match self {
            Builtin::Main(plugin) => plugin.plugin_type(),
            Builtin::Chained(plugin) => plugin.plugin_type(),
            Builtin::Itself(plugin) => plugin.plugin_type(),
        }
    }

    fn versions(self) -> &'static [Version] {
        match self {
            Builtin::Main(plugin) => plugin.versions(),
            Builtin::Chained(plugin) => plugin.versions(),
            Builtin::Itself(plugin) => plugin.versions(),
        }
    }
}

const OTHERS: [&dyn Plugin; 3] = [&meta::flannel::Flannel, &ifacer::Ifacer, &passthru::Passthru];

fn builtins() -> impl Iterator<Item = Builtin> {
    let main = interfaces::ALL.into_iter().map(Builtin::Main);
    let chained = routing::ALL.into_iter().chain(meta::ALL).map(Builtin::Chained);
    let ipam = ipam::ALL.into_iter().map(|plugin| Builtin::Itself(plugin));
    main.chain(chained).chain(ipam).chain(OTHERS.into_iter().map(Builtin::Itself))
}

fn builtin(plugin_type: &str) -> Option<Builtin> {
    builtins().find(|builtin| builtin.plugin_type() == plugin_type)
}

/// Under this name `polynic install` puts the program beside the links to it.
const PROGRAM: &str = "polynic";

/// Device and inode of a regular file.
fn identity(file: &Path) -> Option<(u64, u64)> {
    let meta = file.metadata().ok().filter(|meta| meta.is_file())?;
    Some((meta.dev(), meta.ino()))
}

/// The types of all built-in plugins.
pub fn types() -> impl Iterator<Item = &'static str> {
    builtins().map(Builtin::plugin_type)
}

impl Registry {
    /// A registry for a process.
    pub fn new(host: Host) -> Self {
        Self { host, foreign: Exec::default() }
    }

    /// The built-in plugin of a type, as the executable of that name runs it.
    pub fn plugin(&self, plugin_type: &str) -> Option<impl PluginMain + '_> {
        builtin(plugin_type).map(|builtin| Bound { registry: self, builtin })
    }

    /// A user's own executable of that name wins; a link to ourselves, or nothing at all, means the built-in plugin. An agent in a container
    /// is another file than the one that was installed on the node, which is known by its own name beside the link.
    fn is_ours(&self, plugin_type: &str, path: &str) -> bool {
        let directories = path.split(':').filter(|d| !d.is_empty()).map(Path::new);
        let found = directories.filter_map(|d| identity(&d.join(plugin_type)).map(|id| (d, id)));
        let Some((directory, found)) = found.into_iter().next() else { return true };
        self.host.executable == Some(found) || identity(&directory.join(PROGRAM)) == Some(found)
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            door: self.host.door.as_ref(),
            state: &self.host.state,
            delegate: self,
            addresses: self.host.addresses.as_ref(),
            releases: &self.host.releases,
            seed: self.host.seed.as_ref(),
            warn: self.host.warn.as_ref(),
        }
    }
}

impl Delegate for Registry {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        match builtin(plugin_type) {
            Some(builtin) if self.is_ours(plugin_type, &invocation.path) => {
                invoke(&Bound { registry: self, builtin }, verb, invocation)
            }
            _ => self.foreign.call(plugin_type, verb, invocation),
        }
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        match builtin(plugin_type) {
            Some(_) => Ok(()),
            None => self.foreign.find(plugin_type, path),
        }
    }
}

/// A built-in plugin with the process it runs in.
struct Bound<'a> {
    registry: &'a Registry,
    builtin: Builtin,
}

impl PluginMain for Bound<'_> {
    fn name(&self) -> &str {
        self.builtin.plugin_type()
    }

    fn about_version(&self) -> &str {
        concat!("v", env!("CARGO_PKG_VERSION"))
    }

    fn versions(&self) -> &[Version] {
        self.builtin.versions()
    }

    fn implements(&self, _verb: Verb) -> bool {
        true
    }

    fn call(&self, verb: Verb, invocation: &Invocation, conf: &PluginConf) -> Result<Output, Error> {
        let context = self.registry.context();
        match self.builtin {
            Builtin::Main(plugin) => drive::run(plugin, &context, verb, invocation, conf),
            Builtin::Chained(plugin) => drive::run_chained(plugin, &context, verb, invocation, conf),
            Builtin::Itself(plugin) => plugin.call(&context, verb, invocation, conf),
        }
    }
}
