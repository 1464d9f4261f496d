//! The program as a CNI plugin executable.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use polynic_cluster::whereabouts::Direct;
use polynic_cni::{Answer, dispatch};
use polynic_kernel::RealDoor;
use polynic_plugins::{Host, Registry};
use polynic_wire::whereabouts::Whereabouts;
use polynic_wire::{AddressService, AddressServices, ReleaseJournal, Sockets, journal};
use rustix::io::Errno;

/// Directory of volatile state: records of attachments and locks.
const STATE: &str = "/run/polynic";

/// Runs the built-in plugin of that name, if there is one, with this process's environment and stdin.
pub(crate) fn run(name: &str) -> Option<ExitCode> {
    let registry = Registry::new(host());
    let plugin = registry.plugin(name)?;
    Some(give(&dispatch(&plugin, std::env::vars_os(), &mut io::stdin().lock() as &mut dyn Read)))
}

/// Prints what an executable is to print; its exit status.
pub(crate) fn give(answer: &Answer) -> ExitCode {
    print(io::stderr().as_fd(), answer.stderr.as_bytes());
    print(io::stdout().as_fd(), answer.stdout.as_bytes());
    ExitCode::from(u8::try_from(answer.code).unwrap_or(1))
}

/// Writes in one go: the standard library's stdout would split the answer before its last line and wake the reader twice.
pub(crate) fn print(to: BorrowedFd<'_>, mut text: &[u8]) {
    while !text.is_empty() {
        match rustix::io::write(to, text) {
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Nobody is left to tell when the runtime has closed our output.
            Err(_) => return,
        }
    }
}

/// What plugins need of this process.
pub(crate) fn host() -> Host {
    Host {
        door: Box::new(door()),
        state: PathBuf::from(STATE),
        executable: std::fs::metadata("/proc/self/exe").ok().map(|m| (m.dev(), m.ino())),
        addresses: Box::new(Ways { whereabouts: Direct::new(seed()) }),
        releases: ReleaseJournal::new(journal::DIRECTORY),
        seed: Box::new(seed),
        warn: Box::new(|text| {
            let _ = writeln!(io::stderr(), "{text}");
        }),
    }
}

/// The way to the kernel, and to firewalld where other programs find it as well.
fn door() -> RealDoor {
    let bus = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    RealDoor::default().with_bus(&bus)
}

/// How a plugin process finds the node agent, and the API server itself where a plugin has credentials of its own.
struct Ways {
    whereabouts: Direct,
}

impl AddressServices for Ways {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        Sockets.at(socket)
    }

    fn whereabouts(&self) -> Arc<dyn Whereabouts> {
        Arc::new(self.whereabouts.clone())
    }
}

/// The kernel's randomness; without it (before the pool is ready) the clock tells attempts apart well enough, because a name that is
/// taken is noticed and chosen anew.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
        }
    }
}
