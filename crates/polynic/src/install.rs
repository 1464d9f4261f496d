//! The program as the helper programs of the replaced images, and as what takes polynic off a node.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use polynic_install::applets;
use polynic_install::node::Node;
use polynic_install::thin::{Entrypoint, Options, Parsed};
use polynic_install::watch;
use polynic_runtime::{Shutdown, log};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The program that runs.
const OWN: &str = "/proc/self/exe";

/// Serves the helper program of that name, if there is one.
pub(crate) fn run(name: &str, arguments: &mut dyn Iterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    let applet: fn(&[String]) -> Result<(), Failed> = match name {
        "thin_entrypoint" => thin_entrypoint,
        "install_multus" => |arguments| Ok(applets::install_multus(arguments, Path::new(OWN))?),
        "install-conf" => |arguments| Ok(applets::install_conf(arguments)?),
        "cp" => |arguments| Ok(applets::cp(arguments)?),
        _ => return None,
    };
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    Some(ended(name, applet(&arguments)))
}

/// `polynic uninstall [ROOT]`: the node below that root is as it was before.
pub(crate) fn uninstall(root: &str) -> io::Result<()> {
    Node::below(Path::new(root)).uninstall().map_err(io::Error::other)
}

fn ended(name: &str, outcome: Result<(), Failed>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let _ = writeln!(io::stderr(), "{name}: {text}");
    ExitCode::FAILURE
}

fn thin_entrypoint(arguments: &[String]) -> Result<(), Failed> {
    let options = match Options::parse(arguments.iter().cloned())? {
        Parsed::Run(options) => *options,
        // As the replaced program: the flags, and an exit status that stops a pod from going on.
        Parsed::Help(text) => return Err(text.into()),
    };
    log::start("")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::by_signal()?;
        exit_on_the_second_signal(shutdown.clone());
        let entrypoint = Entrypoint::of_pod(options);
        Ok(watch::blocking(shutdown, move |stop| entrypoint.run(stop)).await??)
    })
}

/// Whoever asks twice does not want to wait for the clean-up.
fn exit_on_the_second_signal(shutdown: Shutdown) {
    tokio::spawn(async move {
        shutdown.triggered().await;
        let again = Shutdown::by_signal();
        let Ok(again) = again else { return };
        again.triggered().await;
        std::process::exit(1);
    });
}
