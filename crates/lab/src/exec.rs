//! Running this machine's programs inside a pod or on a node.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode};

use crate::error::{Error, Result};
use crate::launch;
use crate::namespaces::{self, Join};
use crate::registry;
use crate::state::State;

/// Runs `program` in the network, host name and file system of a pod, or of a host of the lab (`node/NAME`, `host/NAME`).
/// Its exit status becomes ours.
pub fn exec(state: &State, target: &str, namespace: &str, program: &[String]) -> Result<ExitCode> {
    if !state.is_alive()? {
        return Err(Error::NotRunning(state.name().to_owned()));
    }
    let process = find(state, target, namespace)?.to_string();
    let mut args = vec!["__become", &process, "--"];
    args.extend(program.iter().map(String::as_str));
    let child = launch::inside(state, &args)?.spawn().map_err(Error::io("start a process in the lab"))?;
    wait_deaf_to_interrupts(child)
}

/// The process, as numbered inside the lab, that holds the target's namespaces.
fn find(state: &State, target: &str, namespace: &str) -> Result<u32> {
    if let Some(host) = target.strip_prefix("node/").or_else(|| target.strip_prefix("host/")) {
        return Ok(registry::host(state, host)?.pid);
    }
    let sandbox = registry::sandbox_of(state, namespace, target.strip_prefix("pod/").unwrap_or(target));
    let pause = sandbox.and_then(|sandbox| sandbox.pause);
    let missing = || Error::Input(format!("no running pod {target:?} in namespace {namespace:?}"));
    pause.map(|pause| pause.pid).ok_or_else(missing)
}

/// Ctrl-C is for the program in the foreground, which gets it as well: we only pass on how it ends.
fn wait_deaf_to_interrupts(mut child: Child) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(async {
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                done = &mut waiting => {
                    let status = done.map_err(std::io::Error::from).and_then(|status| status);
                    return Ok(launch::exit_code(status.map_err(Error::io("wait for the program"))?));
                }
                _ = tokio::signal::ctrl_c() => {}
            }
        }
    })
}

/// Makes the terminal on standard input the one of this process, so that Ctrl-C reaches it.
pub fn take_terminal() -> Result<()> {
    rustix::process::setsid().map_err(Error::sys("start a session"))?;
    rustix::process::ioctl_tiocsctty(std::io::stdin()).map_err(Error::sys("take the terminal"))
}

/// `__become`: turns into the program. Only the error comes back.
pub fn become_program(process: u32, program: &[String]) -> Result<ExitCode> {
    namespaces::join(process, Join::Inner)?;
    let Some((name, args)) = program.split_first() else {
        return Err(Error::Input("no program given".to_owned()));
    };
    let why =
        Command::new(name).args(args).env("PATH", path(std::env::var("PATH").ok())).current_dir("/").exec();
    Err(Error::io(format!("run {name}"))(why))
}

/// Where programs are looked for: behind the machine's own places, where nodes have polynic. The machine's `bridge` is the one of iproute2.
fn path(machines: Option<String>) -> String {
    let machines = machines.filter(|path| !path.is_empty()).unwrap_or_else(|| "/usr/bin:/bin".to_owned());
    format!("{machines}:/opt/cni/bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_programs_come_after_the_machines() {
        assert_eq!(path(Some("/usr/bin".into())), "/usr/bin:/opt/cni/bin");
        assert_eq!(path(None), "/usr/bin:/bin:/opt/cni/bin");
    }
}
