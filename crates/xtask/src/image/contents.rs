//! What stands where: the paths of the replaced images, all of them links to one program.

use std::collections::BTreeSet;

/// One entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'p> {
    /// Path without a leading slash.
    pub path: String,
    /// What it is.
    pub what: What<'p>,
    /// Permissions.
    pub mode: u32,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum What<'p> {
    /// A directory.
    Directory,
    /// A file with this content.
    File(&'p [u8]),
    /// Another name of an earlier file of the archive.
    Link(String),
    /// A symbolic link to a path.
    Symbolic(&'static str),
}

/// Where the program itself is.
pub const PROGRAM: &str = "usr/bin/polynic";

/// Directories that programs find in an image, with their permissions.
const DIRECTORIES: [(&str, u32); 13] = [
    ("bin", 0o755),
    ("etc", 0o755),
    ("opt", 0o755),
    ("opt/bin", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/src", 0o755),
    ("usr/src/multus-cni", 0o755),
    ("usr/src/multus-cni/bin", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
];

/// As in the images of distributions: runtimes name network namespaces below `/var/run`, manifests mount `/run`.
const RUN: (&str, &str) = ("var/run", "../run");

/// Paths of the images of Multus (spec/multus.md 1), flannel (spec/flannel.md 1), Spiderpool (spec/spiderpool.md 13.3) and of MultiNetworkPolicy, and
/// whereabouts' controllers, which the replaced image starts by a shell.
const LINKS: [&str; 25] = [
    "bin/cp",
    "cert-approver",
    "flannel",
    "install_multus",
    "kubeconfig_generator",
    "opt/bin/flanneld",
    "opt/bin/install-conf",
    "thin_entrypoint",
    "usr/bin/cert-approver",
    "usr/bin/ip-reconciler",
    "usr/bin/multi-networkpolicy-iptables",
    "usr/bin/multi-networkpolicy-nftables",
    "usr/bin/node-slice-controller",
    "usr/bin/spiderpool-agent",
    "usr/bin/spiderpool-controller",
    "usr/bin/spiderpool-init",
    "usr/src/multus-cni/bin/cert-approver",
    "usr/src/multus-cni/bin/install_multus",
    "usr/src/multus-cni/bin/kubeconfig_generator",
    "usr/src/multus-cni/bin/multus",
    "usr/src/multus-cni/bin/multus-daemon",
    "usr/src/multus-cni/bin/multus-shim",
    "usr/src/multus-cni/bin/passthru",
    "usr/src/multus-cni/bin/thin_entrypoint",
    "usr/bin/multus-daemon",
];

/// Everything that is a link to the program in the image.
pub fn links() -> impl Iterator<Item = &'static str> {
    LINKS.into_iter()
}

/// The image, in an order in which links come after what they lead to. Files `beside` the program have their directories in front of them.
pub fn image<'p>(program: &'p [u8], links: &[&str], beside: &'p [(String, Vec<u8>)]) -> Vec<Entry<'p>> {
    let own = DIRECTORIES.map(|(path, mode)| Entry { path: path.to_owned(), what: What::Directory, mode });
    let others = parents(beside).into_iter().filter(|path| !DIRECTORIES.iter().any(|(own, _)| own == path));
    let others = others.map(|path| Entry { path, what: What::Directory, mode: 0o755 });
    let users = [("etc/passwd", &b"root:x:0:0:root:/:/bin/false\n"[..]), ("etc/group", b"root:x:0:\n")];
    let users =
        users.map(|(path, text)| Entry { path: path.to_owned(), what: What::File(text), mode: 0o644 });
    let beside =
        beside.iter().map(|(path, file)| Entry { path: path.clone(), what: What::File(file), mode: 0o755 });
    let program = Entry { path: PROGRAM.to_owned(), what: What::File(program), mode: 0o755 };
    let links = links.iter().map(|path| link(path, PROGRAM));
    let run = Entry { path: RUN.0.to_owned(), what: What::Symbolic(RUN.1), mode: 0o777 };
    own.into_iter()
        .chain([run])
        .chain(others)
        .chain(users)
        .chain(beside)
        .chain([program])
        .chain(links)
        .collect()
}

/// All directories above these files, outer ones first.
fn parents(files: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let above = |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
    files.iter().flat_map(|(path, _)| above(path)).collect()
}

/// The archive for a node's directory of plugins.
pub fn node<'p>(program: &'p [u8], plugins: &[&str]) -> Vec<Entry<'p>> {
    let program = Entry { path: "polynic".to_owned(), what: What::File(program), mode: 0o755 };
    let links = plugins.iter().map(|name| link(name, "polynic"));
    [program].into_iter().chain(links).collect()
}

fn link(path: &str, to: &str) -> Entry<'static> {
    Entry { path: path.to_owned(), what: What::Link(to.to_owned()), mode: 0o755 }
}
