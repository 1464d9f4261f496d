//! A plugin that answers ADD with its prevResult: the smallest executable on top of the library.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use polynic_cni::{Error, Invocation, Output, PluginConf, PluginMain, Verb, Version, dispatch};

struct Passthru;

impl PluginMain for Passthru {
    fn name(&self) -> &str {
        "passthru"
    }

    fn about_version(&self) -> &str {
        "v0.1.0"
    }

    fn versions(&self) -> &[Version] {
        &Version::ALL
    }

    fn implements(&self, verb: Verb) -> bool {
        verb == Verb::Add
    }

    fn call(&self, _: Verb, _: &Invocation, conf: &PluginConf) -> Result<Output, Error> {
        let missing = || Error::internal("Required prevResult missing");
        conf.prev_result()?.map(Output::Success).ok_or_else(missing)
    }
}

fn main() -> ExitCode {
    let answer = dispatch(&Passthru, std::env::vars_os(), &mut std::io::stdin());
    print!("{}", answer.stdout);
    eprint!("{}", answer.stderr);
    ExitCode::from(u8::from(answer.code != 0))
}
