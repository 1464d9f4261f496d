//! Developer tasks: `cargo xtask tidy` checks the rules of ARCHITECTURE.md that no compiler checks,
//! `cargo xtask static-check BINARY` that a program can run on any node, `cargo xtask image` packs it, and `cargo xtask openapi-facts` renews what the
//! embedded API server knows of the built-in kinds.
//!
//! It needs nothing installed but cargo, and has no dependency that a plain build would not have anyway.

mod elf;
mod openapi_facts;
mod tidy;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use polynic_xtask::image::{self, Packing, Recipe};

const USAGE: &str = "\
cargo xtask <task>

  tidy                   check dependency directions, file lengths, layout, child processes, docs/compatibility.md and
                         what the documentation leads to
  static-check BINARY... check that a program is static, stripped, at a fixed address and under 25 MB
  image PROGRAM DIRECTORY
                         pack a static polynic as an OCI image and as a node's archive, without a container engine
  openapi-facts GO_TYPES,... KUBECTL_FLAG...
                         renew crates/apiserver/data/builtin-kinds.txt from the server that the flags lead kubectl to, and
                         from directories of Go types (k8s.io/api, and pkg/apis of apimachinery, apiextensions, kube-aggregator)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => report("tidy", &tidy::problems(&workspace_root()?)?),
        ["static-check", binaries @ ..] if !binaries.is_empty() => static_check(binaries),
        ["image", program, directory] => ship(program, directory),
        ["openapi-facts", types, flags @ ..] => openapi_facts(types, flags),
        [] | ["help" | "-h" | "--help"] => say(USAGE),
        _ => bail!("unknown task: {}\n\n{USAGE}", arguments.join(" ")),
    }
}

fn static_check(binaries: &[&str]) -> Result<()> {
    for binary in binaries {
        let bytes = std::fs::read(binary).with_context(|| format!("reading {binary}"))?;
        let problems = elf::problems(&bytes, elf::LARGEST)
            .with_context(|| format!("{binary} is not a program for Linux"))?;
        report(binary, &problems)?;
        say(&format!("{binary}: static, stripped, {:.1} MB\n", bytes.len() as f64 / 1e6))?;
    }
    Ok(())
}

fn ship(program: &str, directory: &str) -> Result<()> {
    let recipe = Recipe {
        program: Path::new(program),
        version: env!("CARGO_PKG_VERSION"),
        beside: &[],
        packing: Packing::Compressed,
    };
    let shipped = image::ship(&recipe, Path::new(directory))?;
    for path in &shipped.left_out {
        eprintln!("left out of the image: /{path}, because this program does not answer to that name");
    }
    say(&format!("{}\n{}\n", shipped.image.display(), shipped.node.display()))
}

fn openapi_facts(types: &str, flags: &[&str]) -> Result<()> {
    let output = workspace_root()?.join("crates/apiserver/data/builtin-kinds.txt");
    let directories: Vec<&Path> = types.split(',').map(Path::new).collect();
    let bytes = openapi_facts::write(&output, &directories, flags)?;
    say(&format!("{}: {bytes} bytes\n", output.display()))
}

/// Fails with all problems at once: a list is repaired in one go, a first finding one at a time.
fn report(subject: &str, problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    say(&format!("{}\n", problems.join("\n")))?;
    bail!("{subject}: {} problem(s)", problems.len())
}

fn say(text: &str) -> Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.ancestors().nth(2).context("xtask is not in crates/xtask of a workspace")?.to_owned())
}
