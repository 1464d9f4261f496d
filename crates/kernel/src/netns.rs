//! Network namespaces as typed handles: what is opened as the node's can never be taken for a pod's.

mod visit;

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::{NetnsId, OpenError};

/// File system of namespace files (include/uapi/linux/magic.h, `NSFS_MAGIC`).
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// File system of /proc (`PROC_SUPER_MAGIC`): namespaces had their files there before nsfs.
const PROC_MAGIC: u64 = 0x9fa0;

/// The calling thread's namespace. Not /proc/self: that is the main thread's.
pub(crate) const OWN: &str = "/proc/thread-self/ns/net";

/// Marks the node's namespace.
#[derive(Debug)]
pub enum Host {}

/// Marks a pod's namespace.
#[derive(Debug)]
pub enum Pod {}

/// Marks a namespace inside [`crate::RealKernel`], where the change says which place it is about.
#[derive(Debug)]
pub(crate) enum Anywhere {}

/// An open network namespace; it lives at least as long as the handle. `P` is [`Host`] or [`Pod`].
#[derive(Debug)]
pub struct Netns<P> {
    open: Arc<Open>,
    place: PhantomData<fn() -> P>,
}

#[derive(Debug)]
struct Open {
    fd: OwnedFd,
    id: NetnsId,
}

impl<P> Clone for Netns<P> {
    fn clone(&self) -> Self {
        Self { open: Arc::clone(&self.open), place: PhantomData }
    }
}

impl Netns<Host> {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::adopt(File::open(OWN)?.into())
    }
}

impl<P> Netns<P> {
    /// Opens the namespace at `path`, which must be on nsfs or procfs, as namespace files are.
    ///
    /// # Errors
    /// [`OpenError`], with the texts of spec/plugins.md 0.2.
    pub fn open(path: &str) -> Result<Self, OpenError> {
        let refused = |why: io::Error| OpenError::refused(path, &why);
        let magic = match rustix::fs::statfs(path) {
            Ok(stat) => stat.f_type as u64,
            Err(rustix::io::Errno::NOENT) => return Err(OpenError::Missing(path.to_owned())),
            Err(e) => return Err(refused(e.into())),
        };
        if magic != NSFS_MAGIC && magic != PROC_MAGIC {
            return Err(OpenError::Foreign { path: path.to_owned(), magic });
        }
        let fd = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| refused(e.into()))?;
        Self::adopt(fd).map_err(refused)
    }

    /// Opens the namespace of a process.
    ///
    /// # Errors
    /// [`OpenError::Missing`] if there is no such process.
    pub fn of_process(pid: u32) -> Result<Self, OpenError> {
        Self::open(&format!("/proc/{pid}/ns/net"))
    }

    /// Makes a namespace that vanishes with its last handle. It has a loopback link, which is down.
    ///
    /// # Errors
    /// The process may not make namespaces.
    pub fn create() -> io::Result<Self> {
        let made = std::thread::scope(|scope| scope.spawn(create_here).join());
        Self::adopt(made.unwrap_or_else(|_| Err(io::Error::other("the thread failed")))?)
    }

    fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let id = identity(&fd)?;
        Ok(Self { open: Arc::new(Open { fd, id }), place: PhantomData })
    }

    pub(crate) fn anywhere(self) -> Netns<Anywhere> {
        Netns { open: self.open, place: PhantomData }
    }

    /// Who this namespace is.
    pub fn id(&self) -> NetnsId {
        self.open.id
    }

    /// Runs `work` inside the namespace and waits for it. The calling thread goes there and comes back, which costs two
    /// system calls; where it may not come back, a thread of its own does the work.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
        let home: OwnedFd = File::open(OWN)?.into();
        if identity(&home)? == self.open.id {
            return Ok(work());
        }
        visit::visit(self.as_fd(), home, work)
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn enter(&self) -> io::Result<()> {
        enter(self.as_fd())
    }
}

impl<P> AsFd for Netns<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.fd.as_fd()
    }
}

/// Makes a namespace and keeps it at `path`, which is created if need be, until [`unpin`].
///
/// # Errors
/// The process may neither make namespaces nor mount, or `path` cannot be created.
pub fn create_pinned<P>(path: &Path) -> io::Result<Netns<P>> {
    let made = Netns::create()?;
    pin(&made, path)?;
    Ok(made)
}

/// Keeps a namespace alive at `path` by a bind mount.
///
/// # Errors
/// The process may not mount, or `path` cannot be created.
pub fn pin<P>(netns: &Netns<P>, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::options().write(true).create(true).truncate(false).open(path)?;
    // The source must be named by a path: the descriptor's entry in /proc is one.
    let source = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
    Ok(rustix::mount::mount_bind(source, path)?)
}

/// Undoes [`pin`]. The namespace goes when nobody uses it any more.
///
/// # Errors
/// Nothing is pinned at `path`, or the process may not unmount.
pub fn unpin(path: &Path) -> io::Result<()> {
    rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH)?;
    std::fs::remove_file(path)
}

fn identity(fd: impl AsFd) -> io::Result<NetnsId> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(NetnsId { device: stat.st_dev, inode: stat.st_ino })
}

fn enter(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))?)
}

#[allow(unsafe_code, reason = "unshare of a thread has no safe form")]
fn create_here() -> io::Result<OwnedFd> {
    // SAFETY: a network namespace belongs to the thread alone; unlike CLONE_FILES or CLONE_FS it shares nothing that
    // other code of the process relies on, and this thread ends right after.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(File::open(OWN)?.into())
}
