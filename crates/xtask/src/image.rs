//! `cargo xtask image`: what is shipped, from one static program, without a container engine.
//!
//! An OCI image layout as one archive (`ctr image import`, `podman load` and `skopeo` take it), FROM scratch: the program, links to it at
//! the paths of the replaced images, and nothing else. And a node's archive, to unpack into /opt/cni/bin. The same program gives the same
//! bytes: owner, times and order are fixed.

mod contents;
mod layer;
mod layout;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The image.
    pub image: PathBuf,
    /// The node's archive.
    pub node: PathBuf,
}

/// Writes image and archive of a program into a directory.
///
/// # Errors
/// The program does not answer to a name that the image gives it, or files cannot be read or written.
pub fn ship(program: &Path, directory: &Path, version: &str) -> Result<Shipped> {
    let known = known_names(program)?;
    let unknown: Vec<_> =
        contents::links().filter(|path| known.iter().all(|name| name != base(path))).collect();
    ensure!(unknown.is_empty(), "{} does not answer to the names of {unknown:?}", program.display());
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let architecture = layout::architecture(&bytes)?;
    let stem = |what: &str| directory.join(format!("polynic-{what}{version}-linux-{architecture}"));
    let shipped = Shipped {
        image: stem("image-").with_added_extension("tar"),
        node: stem("node-").with_added_extension("tar.gz"),
    };
    let image = layout::image(&bytes, version, architecture)?;
    std::fs::write(&shipped.image, image).with_context(|| format!("writing {}", shipped.image.display()))?;
    let plugins: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| contents::is_plugin(name)).collect();
    let node = layer::compressed(&contents::node(&bytes, &plugins))?;
    std::fs::write(&shipped.node, node).with_context(|| format!("writing {}", shipped.node.display()))?;
    Ok(shipped)
}

/// The names by which the program can be called: it says so itself.
fn known_names(program: &Path) -> Result<Vec<String>> {
    let answer = Command::new(program).arg("names").output();
    let answer = answer.with_context(|| format!("running {} names", program.display()))?;
    ensure!(
        answer.status.success(),
        "{} names: {}",
        program.display(),
        String::from_utf8_lossy(&answer.stderr)
    );
    Ok(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
