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
mod multus;
mod plugin;
mod pod_netns;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if name == agent::NAME {
        return agent::run(args);
    }
    match name {
        controller::NAME => return controller::run(args),
        controller::INIT => return controller::init(args),
        _ => {}
    }
    if name == multus::NAME {
        return multus::run(args);
    }
    if let Some(code) = plugin::run(name) {
        return code;
    }
    let mut args = args.peekable();
    match args.next_if(|word| word == "agent") {
        Some(_) => agent::run(args),
        None => command::run(args),
    }
}
