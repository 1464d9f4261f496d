//! The DHCP daemon as a service of the agent: `dhcp daemon` (spec/plugins.md 2.3). It works on threads of its own.

use polynic_cni::cause::chain;
use polynic_dhcp::daemon::{Daemon, Options};
use polynic_kernel::{RealDoor, inherited};
use polynic_runtime::configuration::Environment;

use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};

/// The replaced program: the plugin's executable, called with the word `daemon`.
pub const NAME: &str = "dhcp";

pub(crate) const USAGE: &str = "dhcp daemon [-socketpath PATH] [-pidfile FILE] [-hostprefix DIR] [-broadcast] [-timeout 10s] [-resendmax 62s] [-resendtimeout 208s] [-statedir DIR]
  -socketpath     where plugins call (default /run/cni/dhcp.sock)
  -pidfile        where the process id is written
  -hostprefix     in front of the paths of socket and namespaces
  -broadcast      have servers broadcast their answers
  -timeout        of one attempt; -resendmax: longest pause between two; -resendtimeout: when a plugin's call is given up
  -statedir       where leases are kept (default /run/polynic/dhcp)";

/// It has no configuration; whoever wants it names it.
pub(crate) fn is_configured() -> bool {
    false
}

/// Reads the command line, with or without the word `daemon`.
///
/// # Errors
/// A flag is unknown or has a wrong value.
pub(crate) fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let words = words.strip_prefix(&["daemon".to_owned()]).unwrap_or(words);
    let wrong =
        |why: &dyn std::error::Error| CommandError::Config { service: NAME, why: chain(why), code: 1 };
    let options = Options::read(words.iter().cloned()).map_err(|why| wrong(&why))?;
    let sockets = sockets_passed_on(environment);
    let run = move |surroundings| Box::pin(run(options, sockets, surroundings)) as crate::part::Running;
    Ok(Part {
        name: NAME,
        stage: Stage::Last,
        kubeconfig: None,
        log_level: String::new(),
        run: Box::new(run),
    })
}

/// How many sockets a service manager passed on to this process (sd_listen_fds(3)).
fn sockets_passed_on(environment: Environment<'_>) -> Option<u32> {
    let number = |name: &str| environment(name).and_then(|value| value.parse::<u32>().ok());
    number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id()))
}

async fn run(options: Options, sockets: Option<u32>, surroundings: Surroundings) -> Result<(), Failure> {
    let listener = sockets.map(inherited::listener).transpose();
    let listener = listener.map_err(|why| Failure::new(NAME, chain(&why)))?;
    let started = Daemon::start(&options, listener, Box::<RealDoor>::default(), surroundings.seed);
    let daemon = started.map_err(|why| Failure::new(NAME, chain(&why)))?;
    tracing::info!(socket = %options.socket.display(), "the DHCP daemon has started");
    surroundings.shutdown.triggered().await;
    let stopped = tokio::task::spawn_blocking(|| daemon.stop()).await;
    stopped.map_err(|why| Failure::new(NAME, why.to_string()))
}
