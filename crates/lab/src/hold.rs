//! Processes that do nothing but keep namespaces alive: one per node, for the router and the host behind it, and one per pod.
//!
//! A container runtime calls the pod's one the pause process; here it stands in for the containers as well ([`crate::container`]).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::container::{self, Containers};
use crate::error::{Error, Result};
use crate::mounts::{self, CNI_DIRECTORIES};
use crate::namespaces;
use crate::process::{self, Identity};
use crate::state::State;

/// Where a node's processes find the lab's state directory: /run, where it may be on the machine, is the node's own.
pub const STATE_INSIDE: &str = "/run/polynic-lab";

/// What a holder stands for.
#[derive(Clone, Debug)]
pub enum Holder<'a> {
    /// A host of the underlay: a network of its own and nothing else.
    Host,
    /// A node: also its own CNI directories and /run, kept in the lab's state.
    Node(&'a State),
    /// A pod in the network namespace of whoever starts the process.
    Pod(&'a Containers),
}

/// Starts a holder called `name` and waits until its namespaces are as they should be.
pub fn start(name: &str, what: &Holder<'_>) -> Result<Child> {
    spawn(command(name, what), name)
}

/// The command that becomes a holder, for [`spawn`].
pub fn command(name: &str, what: &Holder<'_>) -> Command {
    let mut command = match what {
        Holder::Host => process::again(["__hold", name, "host"]),
        Holder::Pod(containers) => {
            let mut command = process::again(["__hold", name, "pod"]);
            command.arg(serde_json::to_string(containers).unwrap_or_default());
            command
        }
        Holder::Node(state) => {
            let mut command = process::again(["__hold", name, "node"]);
            command.arg(state.directory());
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Starts a holder and waits for its sign of life. The namespaces of the calling thread are what it starts from.
pub fn spawn(mut command: Command, name: &str) -> Result<Child> {
    let what = || format!("start the holder of {name}");
    let mut child = command.spawn().map_err(Error::io(what()))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(Error::io(what()))?;
    }
    if line == READY {
        return Ok(child);
    }
    let status = child.wait().map_err(Error::io(what()))?;
    Err(Error::Waited(format!("{}: it ended with {status}: {line}", what())))
}

const READY: &str = "ready\n";

/// `__hold NAME host`, `__hold NAME node STATE`, `__hold NAME pod CONTAINERS`.
pub fn hold(name: &str, kind: &str, detail: Option<&str>) -> Result<()> {
    match (kind, detail) {
        ("host", None) => namespaces::leave_lab(false)?,
        ("node", Some(directory)) => {
            namespaces::leave_lab(true)?;
            arrange_node(&State::at(Path::new(directory))?, name)?;
        }
        ("pod", Some(containers)) => {
            namespaces::leave_host_name(name)?;
            let containers = serde_json::from_str(containers).map_err(|why| Error::Input(why.to_string()))?;
            return container::serve(&containers, report);
        }
        _ => return Err(Error::Input(format!("__hold {name} {kind}: not a holder"))),
    }
    namespaces::set_host_name(name)?;
    report()?;
    loop {
        std::thread::park();
    }
}

fn report() -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::io("report"))
}

/// The directories of a node on the machine, in the order of [`CNI_DIRECTORIES`].
fn node_directories(state: &State, node: &str) -> [PathBuf; CNI_DIRECTORIES.len()] {
    CNI_DIRECTORIES.map(|path| state.node(node).join(path.trim_start_matches('/')))
}

/// Makes the directories of a node and puts our program there under the name of every plugin.
pub fn make_node_directories(state: &State, node: &str, plugins: &[String]) -> Result<()> {
    for directory in node_directories(state, node) {
        fs::create_dir_all(&directory).map_err(Error::io(format!("create {}", directory.display())))?;
    }
    let [etc, opt, ..] = node_directories(state, node);
    for directory in [etc.join("net.d/multus.d"), etc.join("multus/net.d"), opt.join("bin")] {
        fs::create_dir_all(&directory).map_err(Error::io(format!("create {}", directory.display())))?;
    }
    // The program is mounted over this file: wherever it is on the machine, the node has it here.
    let program = opt.join("bin/polynic");
    fs::write(&program, "").map_err(Error::io(format!("create {}", program.display())))?;
    for plugin in plugins {
        let link = opt.join("bin").join(plugin);
        let made = std::os::unix::fs::symlink("polynic", &link);
        made.map_err(Error::io(format!("create {}", link.display())))?;
    }
    Ok(())
}

fn arrange_node(state: &State, node: &str) -> Result<()> {
    mounts::make_private()?;
    let program = state.spec()?.polynic;
    for (source, target) in node_directories(state, node).iter().zip(CNI_DIRECTORIES) {
        mounts::bind(source, Path::new(target))?;
    }
    mounts::bind(&program, Path::new("/opt/cni/bin/polynic"))?;
    // The state may lie under /run, so it is taken hold of before /run is covered.
    let state_tree = mounts::take(&state.directory())?;
    mounts::mount_tmpfs(Path::new("/run"))?;
    for directory in [STATE_INSIDE, "/run/netns", "/run/lock"] {
        fs::create_dir(directory).map_err(Error::io(format!("create {directory} on node {node}")))?;
    }
    mounts::place(&state_tree, Path::new(STATE_INSIDE))?;
    mounts::mount_sys();
    Ok(())
}

/// A holder as others find it.
pub fn identity(child: &Child) -> Result<Identity> {
    Identity::of(child.id())
}
