//! Plugins as processes (spec/cni.md 5.1 and 5.2).

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output as Finished, Stdio};
use std::thread;
use std::time::Duration;

use crate::conf;
use crate::delegate::{Delegate, Output};
use crate::error::Error;
use crate::gate::VersionInfo;
use crate::invocation::Invocation;
use crate::json;
use crate::quote::go_quote;
use crate::result::Success;
use crate::verb::Verb;
use crate::version::Version;

/// Runs the plugin that `CNI_PATH` of the invocation holds, with the invocation's environment (never our
/// own).
#[derive(Clone, Debug)]
pub struct Exec {
    /// Pause before each of up to five retries while the file is being written (`ETXTBSY`).
    pub busy_pause: Duration,
}

impl Default for Exec {
    fn default() -> Exec {
        Exec { busy_pause: Duration::from_secs(1) }
    }
}

const BUSY_RETRIES: u32 = 5;

/// What fits into any pipe, so that writing it cannot wait for the child.
const SMALL_STDIN: usize = 4096;

impl Delegate for Exec {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        let program = find_plugin(plugin_type, &invocation.path)?;
        if verb == Verb::Version {
            return self.version(&program, &invocation.env);
        }
        let stdout = self.run(&program, verb, invocation)?;
        if verb != Verb::Add {
            return Ok(Output::Empty);
        }
        let request = json::parse_object(&invocation.stdin).unwrap_or_default();
        let requested = conf::version_text(&request).unwrap_or_default();
        Success::parse_reply(&stdout, requested).map(Output::Success)
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        find_plugin(plugin_type, path).map(|_| ())
    }
}

impl Exec {
    /// VERSION, with the dummy values that old plugins insist on (spec/cni.md 1.8).
    fn version(
        &self,
        program: &Path,
        env: &[(std::ffi::OsString, std::ffi::OsString)],
    ) -> Result<Output, Error> {
        let dummy = || "dummy".to_owned();
        let stdin = format!("{{\"cniVersion\":\"{}\"}}", Version::NEWEST).into_bytes();
        let (netns, ifname, path, env) = (dummy(), dummy(), dummy(), env.to_vec());
        let ask = Invocation { netns, ifname, path, stdin, env, ..Invocation::default() };
        match self.run(program, Verb::Version, &ask) {
            Ok(stdout) => VersionInfo::from_json(&stdout).map(Output::Version),
            Err(error) if error.to_string() == "unknown CNI_COMMAND: VERSION" => {
                Ok(Output::Version(VersionInfo::oldest_only()))
            }
            Err(error) => Err(error),
        }
    }

    fn run(&self, program: &Path, verb: Verb, invocation: &Invocation) -> Result<Vec<u8>, Error> {
        let start = |why: io::Error| {
            Error::unknown(format!("netplugin failed with no error message: {}: {why}", program.display()))
        };
        let child = self.spawn(program, verb, invocation).map_err(start)?;
        let finished = feed(child, &invocation.stdin).map_err(start)?;
        if !finished.status.success() {
            return Err(failure(&finished));
        }
        // The plugin's log; nobody can be told if our own stderr is closed.
        let _ = io::stderr().write_all(&finished.stderr);
        Ok(finished.stdout)
    }

    fn spawn(&self, program: &Path, verb: Verb, invocation: &Invocation) -> io::Result<Child> {
        let mut command = Command::new(program);
        command.env_clear();
        command.envs(invocation.env.iter().map(|(name, value)| (name, value)));
        command.envs(invocation.variables(verb));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut retries = BUSY_RETRIES;
        loop {
            match command.spawn() {
                Err(why) if why.kind() == io::ErrorKind::ExecutableFileBusy && retries > 0 => {
                    retries -= 1;
                    thread::sleep(self.busy_pause);
                }
                spawned => return spawned,
            }
        }
    }
}

/// The file of a plugin: the first directory of the list with a regular file of that name (its mode is not
/// looked at).
pub fn find_plugin(plugin_type: &str, path: &str) -> Result<PathBuf, Error> {
    if plugin_type.is_empty() {
        return Err(Error::internal("no plugin name provided"));
    }
    if plugin_type.contains('/') {
        return Err(Error::internal(format!("invalid plugin name: {plugin_type}")));
    }
    // An empty entry would mean the working directory; no runtime means that.
    let directories: Vec<&str> = path.split(':').filter(|directory| !directory.is_empty()).collect();
    if directories.is_empty() {
        return Err(Error::internal("no paths provided"));
    }
    let files = directories.iter().map(|directory| Path::new(directory).join(plugin_type));
    let missing = || {
        let list = directories.join(" ");
        Error::internal(format!("failed to find plugin {} in path [{list}]", go_quote(plugin_type)))
    };
    files.into_iter().find(|file| file.is_file()).ok_or_else(missing)
}

/// Hands over stdin and waits. A child that does not read its stdin is no error.
fn feed(mut child: Child, stdin: &[u8]) -> io::Result<Finished> {
    let Some(mut pipe) = child.stdin.take() else { return child.wait_with_output() };
    if stdin.len() <= SMALL_STDIN {
        let _ = pipe.write_all(stdin);
        drop(pipe);
        return child.wait_with_output();
    }
    thread::scope(|scope| {
        let write = move || {
            let _ = pipe.write_all(stdin);
        };
        let started = thread::Builder::new().spawn_scoped(scope, write);
        // Without a writer the pipe is closed by now: the child ends, and is waited for in any case.
        let finished = child.wait_with_output();
        started.map(drop).and(finished)
    })
}

fn failure(finished: &Finished) -> Error {
    let stdout = String::from_utf8_lossy(&finished.stdout);
    let stderr = String::from_utf8_lossy(&finished.stderr);
    let status = status_text(finished.status);
    if stdout.is_empty() && stderr.is_empty() {
        return Error::unknown(format!("netplugin failed with no error message: {status}"));
    }
    if stdout.is_empty() {
        return Error::unknown(format!("netplugin failed: {}: {status}", go_quote(&stderr)));
    }
    Error::from_json(&finished.stdout).unwrap_or_else(|why| {
        let stdout = go_quote(&stdout);
        Error::unknown(format!("netplugin failed but error parsing its diagnostic message {stdout}: {why}"))
    })
}

/// As Go words it: `exit status 1`, `signal: killed`.
fn status_text(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exit status {code}");
    }
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    let signal = match status.signal().unwrap_or_default() {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        6 => "aborted".to_owned(),
        7 => "bus error".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    };
    format!("signal: {signal}{core}")
}

#[cfg(test)]
mod tests;
