//! What stands where: the paths of the replaced images, all of them links to one program.

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
    /// A symbolic link to this path.
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

/// Paths of the images of Multus (spec/multus.md 1), flannel (spec/flannel.md 1) and Spiderpool (spec/spiderpool.md 13.3).
const LINKS: [&str; 21] = [
    "bin/cp",
    "cert-approver",
    "flannel",
    "install_multus",
    "kubeconfig_generator",
    "opt/bin/flanneld",
    "opt/bin/install-conf",
    "thin_entrypoint",
    "usr/bin/cert-approver",
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

/// The image, in an order in which links come after what they lead to.
pub fn image<'p>(program: &'p [u8], links: &[&str]) -> Vec<Entry<'p>> {
    let directories =
        DIRECTORIES.map(|(path, mode)| Entry { path: path.to_owned(), what: What::Directory, mode });
    let users = [("etc/passwd", &b"root:x:0:0:root:/:/bin/false\n"[..]), ("etc/group", b"root:x:0:\n")];
    let users =
        users.map(|(path, text)| Entry { path: path.to_owned(), what: What::File(text), mode: 0o644 });
    // Container runtimes name network namespaces by /var/run/netns/..., and manifests mount /run/netns.
    let var_run = Entry { path: "var/run".to_owned(), what: What::Symbolic("../run"), mode: 0o777 };
    let program = Entry { path: PROGRAM.to_owned(), what: What::File(program), mode: 0o755 };
    let links = links.iter().map(|path| link(path, PROGRAM));
    directories.into_iter().chain([var_run]).chain(users).chain([program]).chain(links).collect()
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
