//! `cargo xtask image`: what is shipped, from one static program, without a container engine.
//!
//! An OCI image layout as one archive (`ctr image import`, `podman load` and `skopeo` take it), FROM scratch: the program, links to it at
//! the paths of the replaced images, and nothing else. And a node's archive, to unpack into /opt/cni/bin. The same program gives the same
//! bytes: owner, times and order are fixed.

mod contents;
mod layer;
mod layout;

use std::collections::BTreeSet;
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
    /// Paths of replaced images that are not in ours, because the program does not answer to their names.
    pub left_out: Vec<&'static str>,
}

/// What is packed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'r> {
    /// The program.
    pub program: &'r Path,
    /// Its version, which is the image's tag.
    pub version: &'r str,
    /// Paths, without a leading slash, and contents of files that a program needs which is not static. What is shipped needs none.
    pub beside: &'r [(String, Vec<u8>)],
    /// How the image's layer is packed.
    pub packing: Packing,
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// For the way through a network.
    Compressed,
    /// For those who unpack it at once.
    Plain,
}

/// Writes image and archive of a program into a directory.
///
/// # Errors
/// The program cannot be run or is for an unknown machine, or files cannot be read or written.
pub fn ship(recipe: &Recipe<'_>, directory: &Path) -> Result<Shipped> {
    let Recipe { program, version, beside, packing } = *recipe;
    let known = listed(program, "names")?;
    let answers = |path: &&str| known.contains(base(path));
    let (links, left_out): (Vec<_>, Vec<_>) = contents::links().partition(answers);
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let architecture = layout::architecture(&bytes)?;
    let stem = |what: &str| directory.join(format!("polynic-{what}{version}-linux-{architecture}"));
    let shipped = Shipped {
        image: stem("image-").with_added_extension("tar"),
        node: stem("node-").with_added_extension("tar.gz"),
        left_out,
    };
    let image = layout::image(
        &contents::image(&bytes, &links, beside),
        layout::About { version, architecture, packing },
    )?;
    std::fs::write(&shipped.image, image).with_context(|| format!("writing {}", shipped.image.display()))?;
    let plugins = listed(program, "plugins")?;
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    let node = layer::compressed(&contents::node(&bytes, &plugins), packing)?;
    std::fs::write(&shipped.node, node).with_context(|| format!("writing {}", shipped.node.display()))?;
    Ok(shipped)
}

/// What a program lists about itself: the `names` by which it can be called, or its `plugins`.
fn listed(program: &Path, what: &str) -> Result<BTreeSet<String>> {
    let answer = Command::new(program).arg(what).output();
    let answer = answer.with_context(|| format!("running {} {what}", program.display()))?;
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.status.success(), "{} {what}: {said}", program.display());
    Ok(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
