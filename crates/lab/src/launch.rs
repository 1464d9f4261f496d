//! Starting and ending a lab.
//!
//! ```text
//! up ── launch ── init (pid 1) ── supervisor ── holders: router, outside, node1, ...
//!        ends                              └── kubelets ── pauses
//! ```
//!
//! `launch` leaves the machine's namespaces and ends; `init` is the first process of the lab's PID namespace, so that its end, by
//! whatever cause, ends all others, and with the last process go the namespaces with all their links and mounts.

use std::fs::File;
use std::io::PipeReader;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{WaitOptions, wait};

use crate::error::{Error, Result};
use crate::process::{self, Identity};
use crate::progress::Progress;
use crate::state::{Spec, State};
use crate::{mounts, namespaces, progress};

/// How long the kernel may take to end a killed lab.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a lab and waits until it can be used. `show` gets a line for each step. What comes back is the cord of a tied lab: when it is
/// dropped, the lab ends.
pub fn start(spec: &Spec, show: impl FnMut(&str)) -> Result<PipeReader> {
    let (reader, writer) = std::io::pipe().map_err(Error::io("make a pipe"))?;
    let json = serde_json::to_string(spec).map_err(|why| Error::Input(why.to_string()))?;
    let mut launcher = process::again(["__launch", &json])
        .stdin(Stdio::null())
        .stdout(writer)
        .spawn()
        .map_err(Error::io("start the lab"))?;
    let followed = progress::follow(&reader, show);
    launcher.wait().map_err(Error::io("start the lab"))?;
    if followed.is_err() {
        clean_up_after(spec, &followed);
    }
    followed.map(|()| reader)
}

/// A lab that failed to start leaves its logs only if they are needed to understand why.
fn clean_up_after(spec: &Spec, outcome: &Result<()>) {
    let said_why = matches!(outcome, Err(Error::Forbidden { .. }));
    if let (true, Ok(state)) = (said_why, State::of(&spec.name))
        && matches!(state.is_alive(), Ok(false))
    {
        let _ = stop(&state);
    }
}

/// Ends a lab, or what is left of it. Says whether there was anything.
pub fn stop(state: &State) -> Result<bool> {
    let guard = state.guard()?;
    let existed = state.directory().exists();
    // Not only when it is alive by its lock: it may not have come so far yet. Without a record it never started.
    if let Ok(init) = state.init() {
        init.kill(PATIENCE)?;
    }
    state.remove(&guard)?;
    Ok(existed)
}

/// `__launch`: makes the state directory, leaves the machine's namespaces and starts `init`.
pub fn launch(spec: &str) -> ExitCode {
    let launched =
        serde_json::from_str(spec).map_err(|why| Error::Input(why.to_string())).and_then(try_launch);
    match launched {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            Progress::failed(&why).report();
            ExitCode::FAILURE
        }
    }
}

fn try_launch(spec: Spec) -> Result<()> {
    let state = State::of(&spec.name)?;
    let guard = state.guard()?;
    state.create(&spec, &guard)?;
    let started = start_init(&state);
    if started.is_err() {
        state.remove(&guard)?;
    }
    started
}

fn start_init(state: &State) -> Result<()> {
    // Opened while still on the machine's network: that is where it stays.
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::io("listen on 127.0.0.1"))?;
    let log = log_file(state, "supervisor")?;
    // Away from the terminal, so that Ctrl-C reaches only the command in the foreground.
    rustix::process::setsid().map_err(Error::sys("start a session"))?;
    // Init has this mount namespace too, and covers /proc as soon as it runs.
    let proc = File::open("/proc").map_err(Error::io("open /proc"))?;
    namespaces::leave_machine()?;
    let init = process::again(["__init".as_ref(), state.directory().as_os_str()])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(log)
        .current_dir("/")
        .spawn()
        .map_err(Error::io("start the lab's first process"))?;
    state.set_init(&Identity::within(&proc, init.id())?)
}

/// The log file of a component, for appending.
pub fn log_file(state: &State, component: &str) -> Result<File> {
    let path = state.logs().join(format!("{component}.log"));
    let opened = File::options().create(true).append(true).open(&path);
    opened.map_err(Error::io(format!("open {}", path.display())))
}

/// `__init`: arranges the file system, starts the supervisor, and reaps every orphan of the lab until the supervisor ends.
pub fn init(directory: &Path) -> ExitCode {
    match try_init(directory) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            Progress::failed(&why).report();
            ExitCode::FAILURE
        }
    }
}

fn try_init(directory: &Path) -> Result<u8> {
    let state = State::at(directory)?;
    let _alive = state.mark_alive()?;
    mounts::make_private()?;
    mounts::mount_proc()?;
    mounts::mount_sys();
    mounts::provide_cni_directories()?;
    namespaces::set_host_name(state.name())?;
    let supervisor = process::again(["__supervise".as_ref(), directory.as_os_str()])
        .spawn()
        .map_err(Error::io("start the supervisor"))?;
    // The reader of the progress must see its end when the supervisor goes.
    let null =
        File::options().read(true).write(true).open("/dev/null").map_err(Error::io("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(Error::sys("close stdin"))?;
    rustix::stdio::dup2_stdout(&null).map_err(Error::sys("close stdout"))?;
    Ok(reap_until(supervisor.id()))
}

/// Waits for all children, which include every orphan, until `child` ends.
fn reap_until(child: u32) -> u8 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == child => {
                return status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}

/// Runs a hidden subcommand of this program inside a running lab, as one of its processes.
pub fn inside(state: &State, args: &[&str]) -> Result<Command> {
    if !state.is_alive()? {
        return Err(Error::NotRunning(state.name().to_owned()));
    }
    let init = state.init()?;
    let mut command = process::again(["__inside".to_owned(), init.pid.to_string()]);
    command.args(args);
    Ok(command)
}

/// `__inside`: joins the lab, and runs the rest as a child, because the PID namespace is for children only.
pub fn go_inside(init: u32, args: &[String]) -> Result<ExitCode> {
    // Found first: the lab's /proc does not show us, because we are outside of its PID namespace.
    let mut command = process::again_by_path(args)?;
    namespaces::join(init, namespaces::Join::Lab)?;
    let mut child = command.current_dir("/").spawn().map_err(Error::io("start a process in the lab"))?;
    let status = child.wait().map_err(Error::io("wait for a process in the lab"))?;
    Ok(exit_code(status))
}

/// The exit status of a child as a shell would pass it on.
pub fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
