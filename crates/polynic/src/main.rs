//! polynic: one program under many names.
//!
//! Called as a CNI plugin (`macvlan`, `bridge`, `host-local`, `multus`, …) it is that plugin: argv[0] is looked at before any
//! runtime, logger or command line parser starts. Under its own name it is the command line tool.

use std::path::Path;
use std::process::ExitCode;

mod agent;
mod cluster;
mod command;
mod controller;
mod explain;
mod install;
mod multus;
mod plugin;
mod shim;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match name {
        controller::NAME => return controller::run(args),
        controller::INIT => return controller::init(args),
        multus::NAME => return multus::run(args),
        multus::PASSTHRU => return multus::pass_through(args),
        shim::NAME => return shim::run(args),
        _ => {}
    }
    let mut args = args.peekable();
    // The one plugin whose executable is a daemon as well.
    let is_daemon = name == "dhcp" && args.peek().is_some_and(|word| word == "daemon");
    if !is_daemon && let Some(code) = plugin::run(name) {
        return code;
    }
    if let Some(code) = install::run(name, &mut args) {
        return code;
    }
    if name != "polynic"
        && let Some(code) = agent::run_alone(name, &mut args)
    {
        return code;
    }
    let args: Vec<_> = args.collect();
    if command::asks_for_help(&args) {
        return command::help();
    }
    let mut args = args.into_iter().peekable();
    let daemon = args.next_if(|word| word == "agent" || word == "controller");
    match daemon.as_deref().and_then(|word| word.to_str()) {
        Some("agent") => agent::run(args),
        Some(_) => controller::run(args),
        None => command::run(args),
    }
}
