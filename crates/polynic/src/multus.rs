//! The program as the thin meta-plugin `multus` (spec/multus.md 1, 12).

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;

use polynic_attach::{Cluster, Config, DoorNetns, Thin, policy_socket};
use polynic_cluster::KubeCluster;
use polynic_cni::Error;
use polynic_cni::cause::chain;
use polynic_kernel::RealDoor;
use polynic_plugins::Registry;

use crate::plugin::{give, host, print};

/// The name it is called by.
pub(crate) const NAME: &str = "multus";

/// The plugin without a network that comes with it.
pub(crate) const PASSTHRU: &str = "passthru";

/// As the about text and the version flags have it.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Serves one call with this process's environment and stdin, or one of the version flags of the replaced program.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    if says_version(NAME, args) {
        return ExitCode::SUCCESS;
    }
    let registry = Registry::new(host());
    let door = RealDoor::default();
    let netns = DoorNetns { door: &door };
    let thin = Thin {
        delegate: &registry,
        netns: &netns,
        connect: &connect,
        guard: &policy_socket::guard,
        version: VERSION,
    };
    give(&thin.answer(std::env::vars_os(), &mut io::stdin().lock() as &mut dyn Read))
}

/// Serves as [`PASSTHRU`], or one of the version flags.
pub(crate) fn pass_through(args: impl Iterator<Item = OsString>) -> ExitCode {
    if says_version(PASSTHRU, args) {
        return ExitCode::SUCCESS;
    }
    crate::plugin::run(PASSTHRU).unwrap_or(ExitCode::FAILURE)
}

/// Prints the version if a flag asks for it.
pub(crate) fn says_version(name: &str, mut args: impl Iterator<Item = OsString>) -> bool {
    let asked = args.any(|a| ["-v", "-version", "--version"].iter().any(|flag| a == *flag));
    if asked {
        let text = format!("{name}: version:{VERSION}(released), commit:, date:\n");
        print(io::stdout().as_fd(), text.as_bytes());
    }
    asked
}

/// The API server that the configuration or the environment names, if any.
fn connect(config: &Config) -> Result<Option<Box<dyn Cluster>>, Error> {
    let connected = KubeCluster::select(&config.kubeconfig);
    let cluster = connected.map_err(|e| Error::internal(chain(&e)))?;
    Ok(cluster.map(|c| Box::new(c) as Box<dyn Cluster>))
}
