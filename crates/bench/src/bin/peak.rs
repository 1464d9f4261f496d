//! Runs a command and prints its peak memory in bytes, children it waited for included.
//!
//! A process of its own because the kernel counts the starter's memory as the child's until it has executed its program
//! (`exec_mmap` in fs/exec.c keeps the high-water mark of what it replaces): the starter has to be small.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use wait4::Wait4;

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().ok_or_else(|| io::Error::other("no command given"))?;
    let child = Command::new(program).args(args).stdout(Stdio::null()).spawn()?;
    let used = child.wait4()?;
    if !used.status.success() {
        return Err(io::Error::other(format!("the command failed: {}", used.status)));
    }
    writeln!(io::stdout(), "{}", used.rusage.maxrss)
}
