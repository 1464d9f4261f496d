//! The program as the helper programs of the replaced images, and as what takes polynic off a node.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use polynic_agent::command::asks_for_help;
use polynic_cni::cause::chain;
use polynic_install::applets;
use polynic_install::certificate::{approver, generator};
use polynic_install::node::Node;
use polynic_install::thin::{Entrypoint, Options, Parsed};
use polynic_install::watch;
use polynic_runtime::{Shutdown, log};

use crate::command::help_text;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The program that runs.
const OWN: &str = "/proc/self/exe";

const CERT_APPROVER: &str = "usage: cert-approver [--kubeconfig=FILE]";

type Applet = fn(&[String]) -> Result<(), Failed>;

/// The helper programs.
const APPLETS: [(&str, Applet); 6] = [
    ("thin_entrypoint", thin_entrypoint),
    ("install_multus", |arguments| Ok(applets::install_multus(arguments, Path::new(OWN))?)),
    ("install-conf", |arguments| Ok(applets::install_conf(arguments)?)),
    ("cp", |arguments| Ok(applets::cp(arguments)?)),
    ("kubeconfig_generator", kubeconfig_generator),
    ("cert-approver", cert_approver),
];

/// Their names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    APPLETS.into_iter().map(|(name, _)| name)
}

/// Serves the helper program of that name, if there is one.
pub(crate) fn run(name: &str, arguments: &mut dyn Iterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    let (name, applet) = APPLETS.into_iter().find(|(known, _)| *known == name)?;
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let Some(usage) = usage(name).filter(|_| asks_for_help(&arguments)) {
        return Some(help_text(&format!("{usage}\n")));
    }
    Some(ended(name, applet(&arguments)))
}

/// How a helper program is called. The two that are not here answer with their usage as the replaced ones do: by failing.
fn usage(name: &str) -> Option<&'static str> {
    match name {
        "cp" => Some(applets::CP),
        "install-conf" => Some(applets::INSTALL_CONF),
        "kubeconfig_generator" => Some(generator::USAGE),
        "cert-approver" => Some(CERT_APPROVER),
        _ => None,
    }
}

/// `polynic uninstall [ROOT]`: the node below that root is as it was before.
pub(crate) fn uninstall(root: &str) -> io::Result<()> {
    if !Path::new(root).is_dir() {
        return Err(io::Error::other(format!(
            "there is no directory {root}: usage: polynic uninstall [ROOT]"
        )));
    }
    Node::below(Path::new(root)).uninstall().map_err(io::Error::other)
}

fn ended(name: &str, outcome: Result<(), Failed>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "{name}: {}", chain(error.as_ref()));
    ExitCode::FAILURE
}

fn thin_entrypoint(arguments: &[String]) -> Result<(), Failed> {
    let options = match Options::parse(arguments.iter().cloned())? {
        Parsed::Run(options) => *options,
        // As the replaced program: the flags, and an exit status that stops a pod from going on.
        Parsed::Help(text) => return Err(text.into()),
    };
    until_a_signal(async |shutdown| {
        exit_on_the_second_signal(shutdown.clone());
        let entrypoint = Entrypoint::of_pod(options);
        Ok(watch::blocking(shutdown, move |stop| entrypoint.run(stop)).await??)
    })
}

fn kubeconfig_generator(arguments: &[String]) -> Result<(), Failed> {
    let settings = generator::Settings::read(arguments, std::env::var("MULTUS_NODE_NAME").ok())?;
    until_a_signal(async |shutdown| Ok(generator::run(settings, shutdown).await?))
}

fn cert_approver(arguments: &[String]) -> Result<(), Failed> {
    let kubeconfig = match arguments {
        [] => None,
        [flag] if flag.starts_with("--kubeconfig=") => flag.split_once('=').map(|(_, path)| path.to_owned()),
        other => {
            return Err(format!("unknown arguments: {}; {CERT_APPROVER}", other.join(" ")).into());
        }
    };
    until_a_signal(async |shutdown| {
        let client = polynic_cluster::client_from(kubeconfig.as_deref().map(Path::new)).await?;
        let client =
            client.ok_or("no API server: this is no pod of a cluster, and no --kubeconfig is given")?;
        approver::run(client, shutdown).await;
        Ok(())
    })
}

/// Runs a daemon until SIGTERM or SIGINT.
fn until_a_signal(daemon: impl AsyncFnOnce(Shutdown) -> Result<(), Failed>) -> Result<(), Failed> {
    log::start("")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { daemon(Shutdown::by_signal()?).await })
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
