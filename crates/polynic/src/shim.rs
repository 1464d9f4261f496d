//! The program as `multus-shim`, which asks the node agent.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use polynic_attach::shim::Patience;
use polynic_attach::{DoorNetns, Shim, Thin};
use polynic_kernel::RealDoor;
use polynic_plugins::Registry;
use polynic_wire::multus::deletions::{self, Deletions};
use polynic_wire::multus::{Endpoint, MultusSocket};

use crate::multus::{VERSION, says_version};
use crate::plugin::{give, host};

/// The name it is called by.
pub(crate) const NAME: &str = "multus-shim";

/// Serves one call with this process's environment and stdin, or one of the version flags of the replaced program.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    if says_version(NAME, args) {
        return ExitCode::SUCCESS;
    }
    let registry = Registry::new(host());
    let door = RealDoor::default();
    let netns = DoorNetns { door: &door };
    // What is done without an agent works from the caches on disk.
    let local = Thin {
        delegate: &registry,
        netns: &netns,
        connect: &|_| Ok(None),
        guard: &|_| None,
        version: VERSION,
    };
    let deletions = Deletions::new(deletions::DIRECTORY);
    let agent = |directory: &Path| Box::new(MultusSocket::in_directory(directory)) as Box<dyn Endpoint>;
    let shim = Shim { agent: &agent, local, deletions: &deletions, patience: Patience::DEFAULT };
    give(&shim.answer(std::env::vars_os(), &mut io::stdin().lock() as &mut dyn Read))
}
