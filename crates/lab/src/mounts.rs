//! The lab's view of the file system: the machine's own, except for the directories that CNI uses.
//!
//! All of it happens in a private mount namespace. Nothing is written to the machine's file systems: directories that it lacks
//! appear on memory file systems that are laid over their parents.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    move_mount, open_tree, unmount,
};

use crate::error::{Error, Result};

/// Where CNI keeps configuration, programs, state and logs, and agents what must outlive a reboot. Every node has its own.
pub const CNI_DIRECTORIES: [&str; 5] =
    ["/etc/cni", "/opt/cni", "/var/lib/cni", "/var/lib/polynic", "/var/log"];

/// Cuts the mount namespace off from the one it was copied from.
pub fn make_private() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(Error::sys("make all mounts private"))
}

/// Mounts /proc anew, so that it shows the lab's own processes.
pub fn mount_proc() -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(crate::diagnose::proc_mount)
}

/// Mounts /sys anew, so that /sys/class/net shows the links of this network namespace. Only people who look around there
/// need it, so a kernel that refuses is no error.
pub fn mount_sys() {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(why) = mount("sysfs", "/sys", "sysfs", flags, None) {
        tracing::info!(%why, "/sys shows the machine's links: it could not be mounted anew");
    }
}

/// Mounts an empty memory file system.
pub fn mount_tmpfs(target: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, Some(c"mode=0755"))
        .map_err(Error::sys(format!("mount a tmpfs on {}", target.display())))
}

/// Takes hold of the tree at `source`, to [`place`] it somewhere even when its path has been covered.
pub fn take(source: &Path) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, source, flags).map_err(Error::sys(format!("take hold of {}", source.display())))
}

/// Mounts what [`take`] took.
pub fn place(tree: &OwnedFd, target: &Path) -> Result<()> {
    move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(Error::sys(format!("mount on {}", target.display())))
}

/// Makes `source` appear at `target` as well.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    place(&take(source)?, target)
}

/// Makes sure that [`CNI_DIRECTORIES`] exist to be mounted over, without touching the machine's file systems.
pub fn provide_cni_directories() -> Result<()> {
    let mut covered = Vec::new();
    for directory in CNI_DIRECTORIES.map(Path::new) {
        if directory.is_dir() {
            continue;
        }
        let parent = directory.parent().unwrap_or(Path::new("/"));
        if !covered.contains(&parent) {
            overlay(parent)?;
            covered.push(parent);
        }
        fs::create_dir(directory).map_err(Error::io(format!("create {} in the lab", directory.display())))?;
    }
    Ok(())
}

/// Where the covered directory stays reachable until all its entries have been bound.
const COVERED: &str = ".covered-by-lab";

/// Lays a memory file system over `directory` that shows all its entries and takes new ones.
fn overlay(directory: &Path) -> Result<()> {
    let what = || format!("lay a tmpfs over {}", directory.display());
    if !directory.is_dir() {
        return Err(Error::Missing {
            what: "a directory of the file system standard".to_owned(),
            path: directory.to_owned(),
            remedy: format!("create it with: sudo mkdir -p {}", directory.display()),
        });
    }
    let tree = take(directory)?;
    mount_tmpfs(directory)?;
    let covered = directory.join(COVERED);
    fs::create_dir(&covered).map_err(Error::io(what()))?;
    place(&tree, &covered)?;
    for entry in fs::read_dir(&covered).map_err(Error::io(what()))? {
        let entry = entry.map_err(Error::io(what()))?;
        show(&entry, &directory.join(entry.file_name()))?;
    }
    unmount(&covered, UnmountFlags::DETACH).map_err(Error::sys(what()))?;
    fs::remove_dir(&covered).map_err(Error::io(what()))
}

/// Makes a covered entry appear at `target`. Symbolic links are copied, because relative ones mean something else elsewhere.
fn show(entry: &fs::DirEntry, target: &Path) -> Result<()> {
    let what = || format!("show {} in the lab", target.display());
    let kind = entry.file_type().map_err(Error::io(what()))?;
    if kind.is_symlink() {
        let link = fs::read_link(entry.path()).map_err(Error::io(what()))?;
        return symlink(link, target).map_err(Error::io(what()));
    }
    if kind.is_dir() {
        fs::create_dir(target).map_err(Error::io(what()))?;
    } else {
        File::create(target).map_err(Error::io(what()))?;
    }
    bind(&entry.path(), target)
}
