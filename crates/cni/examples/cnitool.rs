//! A `cnitool` on top of the library: `cnitool add|check|del|gc|status <network> <netns> [-i NAME]`, with
//! the environment of spec/cni.md 5.7. Useful to compare caches and results with the Go tool.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;

use polynic_cni::cnitool::{Request, run};
use polynic_cni::{Error, Exec, Runtime, cache};

fn main() -> ExitCode {
    match answer() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<String, Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (command, network, netns, ifname_flag) = match words[..] {
        [command, network, netns] => (command, network, netns, ""),
        [command, network, netns, "-i" | "--ifname", ifname] => (command, network, netns, ifname),
        _ => {
            return Err(Error::internal(
                "usage: cnitool add|check|del|gc|status <network> <netns> [-i NAME]",
            ));
        }
    };
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let (ifname_env, conf_directory) = (var("CNI_IFNAME"), var("NETCONFPATH"));
    let (capability_args, args, working_directory) = (var("CAP_ARGS"), var("CNI_ARGS"), var("PWD"));
    let request = Request {
        command,
        network,
        netns,
        ifname_flag,
        ifname_env: &ifname_env,
        conf_directory: &conf_directory,
        capability_args: &capability_args,
        args: &args,
        working_directory: &working_directory,
    };
    let cache_directory = var("CNI_CACHE_DIR");
    let cache_directory =
        if cache_directory.is_empty() { cache::DEFAULT_DIRECTORY } else { &cache_directory };
    let exec = Exec::default();
    let mut runtime = Runtime::new(Path::new(cache_directory), var("CNI_PATH"), &exec);
    runtime.env = std::env::vars_os().collect();
    run(&runtime, &request)
}
