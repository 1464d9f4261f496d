//! What a process that is measured has used.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};

/// The program that is measured: `POLYNIC_PROGRAM`, or the `polynic` beside this one.
///
/// # Errors
/// It is not there.
pub fn program() -> anyhow::Result<PathBuf> {
    let program = match std::env::var_os("POLYNIC_PROGRAM") {
        Some(program) => PathBuf::from(program),
        None => std::env::current_exe()?.with_file_name("polynic"),
    };
    ensure!(
        program.is_file(),
        "{} is not there: build -p polynic, or set POLYNIC_PROGRAM",
        program.display()
    );
    Ok(program)
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All that is resident, pages of the program's file included.
    pub resident: f64,
    /// What is no page of a file.
    pub own: f64,
}

impl Memory {
    /// That of a process now.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let mib = |key: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
            let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Self { resident: mib("VmRSS:")?, own: mib("RssAnon:")? })
    }

    /// The larger of both, figure by figure.
    pub fn max(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), own: self.own.max(other.own) }
    }
}

/// User and system time of a process and its threads so far (proc_pid_stat(5), fields 14 and 15).
///
/// # Errors
/// There is no such process.
pub fn cpu(process: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> { Ok(fields.get(at).context("a short line")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / rustix::param::clock_ticks_per_second()))
}
