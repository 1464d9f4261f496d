//! The programs that are measured: ours, built here, and whatever of the replaced ones is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Where Debian's containernetworking-plugins are.
pub(crate) const PEERS: &str = "/usr/lib/cni";

/// How the released program is linked: no shared libraries, at a fixed address.
const RUSTFLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// Programs to measure.
pub(crate) struct Programs {
    /// Cargo's target directory, the one place that is written to.
    pub(crate) target: PathBuf,
    /// Our static program.
    pub(crate) polynic: PathBuf,
    /// A static process that does nothing.
    pub(crate) empty: PathBuf,
    /// The measure of peak memory.
    pub(crate) peak: PathBuf,
    /// The replaced plugins, if they are installed.
    pub(crate) peers: Option<PathBuf>,
}

impl Programs {
    /// Builds ours, unless `POLYNIC_PROGRAM` names it, and looks for the others.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let target = target_directory();
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let release = target.join(&triple).join("release");
        let polynic = match std::env::var_os("POLYNIC_PROGRAM") {
            Some(built) => PathBuf::from(built),
            None => {
                cargo(&target, &["-p", "polynic", "--bin", "polynic", "--target", &triple])?;
                release.join("polynic")
            }
        };
        check_static(&polynic)?;
        let own = ["-p", "polynic-bench", "--bin", "polynic-bench-empty", "--bin", "polynic-bench-peak"];
        cargo(&target, &[&own[..], &["--target", &triple]].concat())?;
        let peers = Path::new(PEERS);
        Ok(Self {
            polynic,
            empty: release.join("polynic-bench-empty"),
            peak: release.join("polynic-bench-peak"),
            peers: peers.join("macvlan").is_file().then(|| peers.to_owned()),
            target,
        })
    }
}

fn target_directory() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from);
    std::fs::create_dir_all(&target).and_then(|()| target.canonicalize()).unwrap_or(target)
}

fn cargo(target: &Path, args: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--release"]).args(args);
    command.env("RUSTFLAGS", RUSTFLAGS).env("CARGO_TARGET_DIR", target);
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo build {} failed", args.join(" "));
    Ok(())
}

/// The figures are about a static program at a fixed address; anything else would be another program.
fn check_static(program: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    match elf_link(&bytes) {
        Some(Linked { fixed: true, interpreter: false }) => Ok(()),
        found => bail!("{} is not linked statically at a fixed address: {found:?}", program.display()),
    }
}

/// How an executable is linked.
#[derive(Debug, PartialEq)]
struct Linked {
    /// At a fixed address (`ET_EXEC`).
    fixed: bool,
    /// By a dynamic linker at start (`PT_INTERP`).
    interpreter: bool,
}

/// Reads the header of a 64-bit little-endian ELF file (elf(5)).
fn elf_link(bytes: &[u8]) -> Option<Linked> {
    const ET_EXEC: u16 = 2;
    const PT_INTERP: u32 = 3;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let half = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes);
    let word = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
    let table = usize::try_from(u64::from_le_bytes(*bytes.get(32..)?.first_chunk()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let entries = (0..count).map(|n| word(table.checked_add(n * size)?));
    Some(Linked {
        fixed: half(16)? == ET_EXEC,
        interpreter: entries.collect::<Option<Vec<u32>>>()?.contains(&PT_INTERP),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u16, segments: &[u32]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(segments.len()).unwrap();
        for segment in segments {
            bytes.extend(segment.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert_eq!(elf_link(&elf(2, &[1, 1])), Some(Linked { fixed: true, interpreter: false }));
        assert_eq!(elf_link(&elf(3, &[6, 3, 1])), Some(Linked { fixed: false, interpreter: true }));
    }

    #[test]
    fn a_file_that_is_cut_off_is_not_judged() {
        let whole = elf(2, &[1, 3]);
        for length in 0..whole.len() - 52 {
            assert_eq!(elf_link(&whole[..length]), None, "{length}");
        }
    }
}
