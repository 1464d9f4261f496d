//! Calling a CNI executable as a runtime does, with a clock.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::stats::Pairs;
use crate::world::World;

/// Rounds whose times are thrown away: caches fill, shared objects come into being.
const WARM_UP: usize = 3;

/// A plugin executable with its configuration.
pub(crate) struct Plugin<'a> {
    world: &'a World,
    directory: PathBuf,
    kind: &'static str,
    conf: String,
}

impl<'a> Plugin<'a> {
    /// The plugin of a type in `directory`.
    pub(crate) fn new(world: &'a World, directory: &Path, kind: &'static str, conf: &Value) -> Self {
        Self { world, directory: directory.to_owned(), kind, conf: conf.to_string() }
    }

    /// Prepares `program` to be called as this plugin.
    pub(crate) fn prepare(&self, command: &mut Command, verb: &str, container: &str) {
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", container).env("CNI_IFNAME", "net1");
        command.env("CNI_NETNS", &self.world.netns).env("CNI_PATH", &self.directory);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    }

    /// The executable.
    pub(crate) fn program(&self) -> PathBuf {
        self.directory.join(self.kind)
    }

    /// The configuration, as stdin.
    pub(crate) fn stdin(&self) -> &[u8] {
        self.conf.as_bytes()
    }

    /// Calls it. The time is that from starting the process to having its whole answer and its exit.
    pub(crate) fn call(&self, verb: &str, container: &str) -> anyhow::Result<Duration> {
        let mut command = Command::new(self.program());
        self.prepare(&mut command, verb, container);
        let what = || format!("{} {verb}", self.program().display());
        let (time, stdout, success) = timed(&mut command, self.stdin()).with_context(what)?;
        ensure!(success, "{}: {}", what(), String::from_utf8_lossy(&stdout));
        Ok(time)
    }

    /// ADD and DEL of one attachment.
    pub(crate) fn attach_and_detach(&self, round: usize) -> anyhow::Result<[Duration; 2]> {
        let container = format!("bench-{round}");
        Ok([self.call("ADD", &container)?, self.call("DEL", &container)?])
    }
}

/// Runs a command with `stdin`; answers how long that took, its stdout and whether it succeeded.
pub(crate) fn timed(command: &mut Command, stdin: &[u8]) -> std::io::Result<(Duration, Vec<u8>, bool)> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read it is no error.
        let _ = pipe.write_all(stdin);
    }
    let output = child.wait_with_output()?;
    Ok((start.elapsed(), output.stdout, output.status.success()))
}

/// One round of something, given its number: the times of its parts.
pub(crate) type Round<'a, const N: usize> = &'a mut dyn FnMut(usize) -> anyhow::Result<[Duration; N]>;

/// Measures two things in turn, `rounds` times, each going first every other time.
pub(crate) fn alternate<const N: usize>(
    rounds: usize,
    ours: Round<'_, N>,
    mut peer: Option<Round<'_, N>>,
) -> anyhow::Result<[Pairs; N]> {
    let mut pairs = std::array::from_fn(|_| Pairs::default());
    for round in 0..rounds + WARM_UP {
        let mut their = None;
        if round % 2 == 0 {
            their = peer.as_mut().map(|peer| peer(round)).transpose()?;
        }
        let our = ours(round)?;
        if round % 2 == 1 {
            their = peer.as_mut().map(|peer| peer(round)).transpose()?;
        }
        if round >= WARM_UP {
            note(&mut pairs, our, their);
        }
    }
    Ok(pairs)
}

fn note<const N: usize>(pairs: &mut [Pairs; N], ours: [Duration; N], peers: Option<[Duration; N]>) {
    for (part, pair) in pairs.iter_mut().enumerate() {
        pair.ours.push(ours[part]);
        pair.peers.extend(peers.map(|times| times[part]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn each_goes_first_every_other_time() {
        let order = RefCell::new(String::new());
        let run = |name: char| {
            order.borrow_mut().push(name);
            Ok([Duration::from_millis(1)])
        };
        let [pairs] = alternate(2, &mut |_| run('a'), Some(&mut |_| run('b'))).unwrap();
        assert_eq!(order.into_inner(), "baabbaabba");
        assert_eq!((pairs.ours.len(), pairs.peers.len()), (2, 2));
    }

    #[test]
    fn without_a_peer_ours_is_measured_alone() {
        let [pairs] = alternate(4, &mut |_| Ok([Duration::from_millis(1)]), None).unwrap();
        assert_eq!((pairs.ours.len(), pairs.peers.len()), (4, 0));
    }
}
