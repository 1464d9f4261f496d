//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that no compiler checks.
//!
//! Each rule is a function from data (source texts, the dependency graph) to a list of problems, each one line that names the
//! place and what to do. Reading the tree is [`tree`]'s business alone.

mod ambient;
mod compatibility;
mod directions;
mod layout;
mod length;
mod links;
mod tree;

use std::path::Path;

use anyhow::Result;

/// All broken rules of the workspace at `root`, one line each.
///
/// # Errors
/// A file cannot be read, or `cargo metadata` fails.
pub fn problems(root: &Path) -> Result<Vec<String>> {
    let tree = tree::read(root)?;
    let graph = directions::Graph::of_workspace(root)?;
    let mut problems = directions::problems(&graph);
    problems.extend(tree.sources.iter().filter_map(length::problem));
    problems.extend(tree.sources.iter().filter_map(layout::source_problem));
    problems.extend(tree.manifests.iter().filter_map(layout::manifest_problem));
    problems.extend(tree.sources.iter().flat_map(ambient::problems));
    problems.extend(compatibility::problems(&tree));
    problems.extend(links::problems(&tree));
    Ok(problems)
}
