//! What it costs that a plugin is a process: VERSION against a process that does nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;

use crate::plugin::{alternate, timed};
use crate::report::Row;
use crate::world::World;

const ROUNDS: usize = 400;

/// VERSION of our executable and of the replaced one, against an empty process.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let ours = world.ours.join("macvlan");
    let empty = &world.programs.empty;
    let mut rows = Vec::new();
    let [pairs] = alternate(ROUNDS, &mut |_| version(&ours), Some(&mut |_| version(empty)))?;
    rows.extend(Row::times("VERSION, against an empty process", "static program with an empty main", &pairs));
    let [pairs] = alternate(ROUNDS, &mut |_| version(&ours), Some(&mut |_| version(Path::new("/bin/true"))))?;
    rows.extend(Row::times("VERSION, against /bin/true", "/bin/true (dynamic)", &pairs));
    let theirs = world.programs.peers.as_ref().map(|directory| directory.join("macvlan"));
    let mut their_version = theirs.map(|program| move |_| version(&program));
    let peer = their_version.as_mut().map(|f| f as _);
    let [pairs] = alternate(ROUNDS / 4, &mut |_| version(&ours), peer)?;
    rows.extend(Row::times(
        "VERSION, against the replaced plugin",
        "containernetworking-plugins macvlan",
        &pairs,
    ));
    Ok(rows)
}

/// Starts a program as for VERSION and waits for its end.
fn version(program: &Path) -> anyhow::Result<[Duration; 1]> {
    let mut command = Command::new(program);
    command.env_clear().env("CNI_COMMAND", "VERSION");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (time, _, success) = timed(&mut command, br#"{"cniVersion":"1.0.0"}"#)?;
    ensure!(success, "{} VERSION failed", program.display());
    Ok([time])
}
