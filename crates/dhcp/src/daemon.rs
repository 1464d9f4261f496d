//! The daemon: the engine's thread, and a thread that listens on the socket and starts one for each caller.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use polynic_cni::Success;
use polynic_kernel::Door;
use polynic_net::IfName;
use rustix::event::{PollFd, PollFlags, poll};

use crate::bell::Bell;
use crate::clock::Clock;
use crate::engine::{Asked, Command, Engine, Reply, Settings, Tools, release_kept};
use crate::rpc::{Arguments, Service, server};
use crate::store::{Kept, Store, digest};
use crate::wishes;

mod options;

pub use options::{Options, OptionsError};

/// The longest client id: with its type byte it fills an option.
const LONGEST_CLIENT_ID: usize = 254;

/// How long the socket's thread rests when it cannot go on.
const REST: Duration = Duration::from_millis(200);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The socket cannot be listened on.
    #[error("cannot listen on {}", .0.display())]
    Listen(PathBuf, #[source] io::Error),
    /// Another daemon listens there.
    #[error("another daemon listens on {}", .0.display())]
    Taken(PathBuf),
    /// The file with our process id cannot be written.
    #[error("cannot write {}", .0.display())]
    PidFile(PathBuf, #[source] io::Error),
    /// A thread, a descriptor or the time cannot be had.
    #[error("cannot start the DHCP daemon")]
    Start(#[source] io::Error),
}

/// A daemon at work.
pub struct Daemon {
    handle: Handle,
    ending: Arc<Bell>,
    threads: Vec<JoinHandle<()>>,
    files: Vec<PathBuf>,
}

impl Daemon {
    /// Starts a daemon. `listener` is a socket that was passed on; without one, a socket is made. `seed` tells its messages from those
    /// of other nodes.
    ///
    /// # Errors
    /// [`DaemonError`].
    pub fn start(
        options: &Options,
        listener: Option<UnixListener>,
        door: Box<dyn Door>,
        seed: u64,
    ) -> Result<Self, DaemonError> {
        let mut files = Vec::new();
        if let Some(path) = &options.pid_file {
            let written = fs::write(path, format!("{}\n", std::process::id()));
            written.map_err(|e| DaemonError::PidFile(path.clone(), e))?;
            files.push(path.clone());
        }
        let listener = match listener {
            Some(listener) => listener,
            None => {
                let path = prefixed(&options.host_prefix, &options.socket);
                files.push(path.clone());
                listen(&path)?
            }
        };
        let (sender, commands) = channel();
        let bell = Arc::new(Bell::new().map_err(DaemonError::Start)?);
        let ending = Arc::new(Bell::new().map_err(DaemonError::Start)?);
        let handle = Handle { sender, bell: bell.clone(), host_prefix: options.host_prefix.clone() };
        let clock = Clock::new().map_err(DaemonError::Start)?;
        let mut engine = Engine::new(tools(options, door), clock, seed, commands, bell);
        let work = move || {
            engine.restore();
            engine.run();
        };
        let (service, end) = (Arc::new(handle.clone()), ending.clone());
        let threads = vec![
            named("dhcp", work).map_err(DaemonError::Start)?,
            named("dhcp-socket", move || accept(&listener, &service, &end)).map_err(DaemonError::Start)?,
        ];
        Ok(Self { handle, ending, threads, files })
    }

    /// Ends the daemon. Leases stay: interfaces keep their addresses, and the next daemon takes the leases up.
    pub fn stop(self) {
        self.ending.ring();
        self.handle.tell(Command::Stop);
        for thread in self.threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
        for file in self.files {
            let _ = fs::remove_file(file);
        }
    }
}

fn tools(options: &Options, door: Box<dyn Door>) -> Tools {
    let settings =
        Settings { timing: options.timing, broadcast: options.broadcast, state: options.state.clone() };
    Tools { store: Store::new(&settings.state), settings, door }
}

/// Releases a lease without a daemon: from what the last one left on disk. `state` is the daemon's directory.
///
/// # Errors
/// The configuration has no name that could be read.
pub fn release_alone(state: &Path, door: &dyn Door, arguments: &Arguments) -> Result<(), String> {
    release_kept(door, &Store::new(state), &client_id(arguments)?);
    Ok(())
}

/// Container and interface of all leases of a network that are on disk. `state` is the daemon's directory.
pub fn kept(state: &Path, network: &str) -> Vec<(String, String)> {
    let parts = |kept: Kept| {
        let (container_id, _) = kept.client_id.split_once('/')?;
        let ifname = kept.ifname.as_str();
        let is_of = id_of(container_id, network, ifname) == kept.client_id;
        is_of.then(|| (container_id.to_owned(), ifname.to_owned()))
    };
    // One that cannot be read just now is found at the next time.
    Store::new(state).load().0.into_iter().filter_map(parts).collect()
}

/// Makes the socket. One that nobody listens on any more is in nobody's way.
fn listen(path: &Path) -> Result<UnixListener, DaemonError> {
    let failed = |e: io::Error| DaemonError::Listen(path.to_owned(), e);
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(DaemonError::Taken(path.to_owned()));
            }
            fs::remove_file(path).map_err(failed)?;
            UnixListener::bind(path).map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

fn named(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Serves callers until the end is rung. A caller that cannot be served for want of descriptors waits in the socket's queue.
fn accept(listener: &UnixListener, service: &Arc<Handle>, ending: &Bell) {
    let mut is_told = false;
    while !has_rung(listener, ending) {
        let service: Arc<dyn Service> = service.clone();
        let served = listener
            .accept()
            .and_then(|(stream, _)| named("dhcp-caller", move || server::serve(stream, service)).map(drop));
        match served {
            Ok(()) => is_told = false,
            Err(why) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%why, "a caller of the DHCP daemon is not served just now");
                }
                thread::sleep(REST);
            }
        }
    }
}

/// Waits for a caller; whether it is the end instead.
fn has_rung(listener: &UnixListener, ending: &Bell) -> bool {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(ending, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[1].revents().is_empty() => return true,
            Ok(_) if !fds[0].revents().is_empty() => return false,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // For want of memory.
            Err(_) => thread::sleep(REST),
        }
    }
}

/// How callers reach the engine.
#[derive(Clone)]
struct Handle {
    sender: Sender<Command>,
    bell: Arc<Bell>,
    host_prefix: String,
}

impl Handle {
    fn tell(&self, command: Command) {
        // An engine that has ended drops the reply, which its caller notices.
        let _ = self.sender.send(command);
        self.bell.ring();
    }

    fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, String> {
        let (reply, answer) = sync_channel(1);
        self.tell(command(reply));
        answer.recv().unwrap_or_else(|_| Err("the DHCP daemon is ending".to_owned()))
    }
}

impl Service for Handle {
    fn allocate(&self, arguments: Arguments) -> Result<Success, String> {
        let asked = asked(&arguments, &self.host_prefix)?;
        self.ask(|reply| Command::Allocate(asked, reply))
    }

    fn release(&self, arguments: Arguments) -> Result<(), String> {
        let client_id = client_id(&arguments)?;
        self.ask(|reply| Command::Release(client_id, reply))
    }

    fn check(&self, arguments: Arguments) -> Result<(), String> {
        let client_id = client_id(&arguments)?;
        self.ask(|reply| Command::Check(client_id, reply))
    }
}

fn asked(arguments: &Arguments, host_prefix: &str) -> Result<Asked, String> {
    let (_, wishes) = wishes::read(&arguments.stdin, &arguments.args).map_err(|e| e.to_string())?;
    Ok(Asked {
        client_id: client_id(arguments)?,
        netns: prefixed(host_prefix, Path::new(&arguments.netns)).to_string_lossy().into_owned(),
        ifname: IfName::new(&arguments.ifname).map_err(|e| e.to_string())?,
        wishes,
    })
}

/// A release must not fail for a configuration that has become bad.
fn client_id(arguments: &Arguments) -> Result<String, String> {
    let network = wishes::network(&arguments.stdin).map_err(|e| e.to_string())?;
    Ok(id_of(&arguments.container_id, &network, &arguments.ifname))
}

/// Container, network and interface. Where an option cannot hold that, it is cut, and ends in a digest of the whole: cut alone, two interfaces
/// of one pod on a network with a long name would be one client.
fn id_of(container_id: &str, network: &str, ifname: &str) -> String {
    let whole = format!("{container_id}/{network}/{ifname}");
    if whole.len() <= LONGEST_CLIENT_ID {
        return whole;
    }
    let digest = format!("/{:016x}", digest(&whole));
    let end = whole.floor_char_boundary(LONGEST_CLIENT_ID - digest.len());
    whole[..end].to_owned() + &digest
}

/// A path of the host as we see it.
fn prefixed(prefix: &str, path: &Path) -> PathBuf {
    match prefix {
        "" => path.to_owned(),
        prefix => Path::new(prefix).join(path.strip_prefix("/").unwrap_or(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_with_long_names_stay_apart_and_fit_into_an_option() {
        assert_eq!(id_of("c1", "lan", "net1"), "c1/lan/net1");
        let (container, network) = ("c".repeat(64), "é".repeat(100));
        let [one, other] = ["net1", "net2"].map(|ifname| id_of(&container, &network, ifname));
        assert_ne!(one, other);
        assert!(one.len() <= LONGEST_CLIENT_ID && one.len() > 240, "{}", one.len());
        let longest = id_of(&container, &"n".repeat(LONGEST_CLIENT_ID - 64 - 2 - 4), "net1");
        assert!(longest.len() == LONGEST_CLIENT_ID && longest.ends_with("/net1"), "{longest}");
    }
}
