//! Processes that the lab runs again and again if it must be: kubelets, agents, the controller. What they started survives them, because
//! it is not their child for long.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::launch;
use crate::process;
use crate::state::State;

/// A daemon that ran so long was well.
const WELL: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Its name, and that of its log.
    pub name: String,
    /// Arguments of this very program, as in `__kubelet 1 4711`.
    pub args: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// It starts once this file is there.
    pub after: Option<PathBuf>,
}

/// How often a file is looked for that a daemon waits for.
const GLANCE: Duration = Duration::from_millis(20);

/// A daemon and whoever keeps it running. It ends with this.
pub struct Kept(JoinHandle<()>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Daemon {
    /// A program in the namespaces of the process `holder`.
    pub fn inside(name: &str, holder: u32, program: &[String], environment: &[(String, String)]) -> Daemon {
        let become_it = ["__become".to_owned(), holder.to_string(), "--".to_owned()];
        let args = [&become_it, program].concat();
        Daemon { name: name.to_owned(), args, environment: environment.to_vec(), after: None }
    }

    /// Starts it.
    pub fn keep(self, state: State) -> Kept {
        Kept(tokio::spawn(self.again_and_again(state)))
    }

    async fn again_and_again(self, state: State) {
        let mut backoff = Backoff::of_sandboxes();
        while self.after.as_ref().is_some_and(|file| !file.exists()) {
            tokio::time::sleep(GLANCE).await;
        }
        loop {
            let started = Instant::now();
            match self.start(&state) {
                Ok(mut child) => {
                    let status = child.wait().await;
                    tracing::warn!(daemon = self.name, ?status, "a daemon ended: starting it again");
                }
                Err(why) => tracing::warn!(daemon = self.name, %why, "cannot start a daemon"),
            }
            if started.elapsed() > WELL {
                backoff.reset();
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    fn start(&self, state: &State) -> Result<tokio::process::Child> {
        let log = launch::log_file(state, &self.name)?;
        let mut command = process::again(&self.args);
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let what = format!("start {}", self.name);
        tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(Error::io(what))
    }
}
