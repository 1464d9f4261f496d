//! A cluster on one machine: the command line of `polynic_lab`.

use std::process::ExitCode;

fn main() -> ExitCode {
    polynic_lab::main()
}
