//! What a lab keeps on disk: one directory per lab, private to the user, gone after `down`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::Identity;
use crate::shape::Shape;

/// The name of a lab that was not given one.
pub const DEFAULT_NAME: &str = "lab";

/// ` --name X` where that is needed to mean this lab, for messages.
pub fn name_option(name: &str) -> String {
    if name == DEFAULT_NAME { String::new() } else { format!(" --name {name}") }
}

/// What the user asked for. Written before anything is started, read by every process of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The lab's name.
    pub name: String,
    /// Number of nodes, 1 to [`crate::underlay::MAX_NODES`].
    pub nodes: u16,
    /// Its networks and hosts.
    pub shape: Shape,
    /// The default network drops what fails a strict reverse-path check, as Calico's agent makes the node do.
    pub strict_reverse_path: bool,
    /// The API server enforces roles.
    pub rbac: bool,
    /// The lab ends with the process that reads its progress.
    pub tied: bool,
    /// The node program, found before the lab's view of the file system differs from the user's.
    pub polynic: PathBuf,
}

/// The directory of one lab.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
    name: String,
}

/// Holds off other commands that start or stop labs of this user until dropped.
#[derive(Debug)]
pub struct Guard {
    _root: File,
}

impl State {
    /// The state of the lab `name`, whether it exists or not.
    ///
    /// # Errors
    /// [`Error::Input`] if the name could not be a directory and host name.
    pub fn of(name: &str) -> Result<State> {
        check_name(name)?;
        Ok(State { root: root(), name: name.to_owned() })
    }

    /// The state in a directory that a parent process passed on.
    pub fn at(directory: &Path) -> Result<State> {
        let name = directory.file_name().and_then(|n| n.to_str());
        let (Some(name), Some(root)) = (name, directory.parent()) else {
            return Err(Error::Input(format!("{} is no lab's directory", directory.display())));
        };
        Ok(State { root: root.to_owned(), name: name.to_owned() })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    pub fn directory(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The kubeconfig for the user, with the API server's address on the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory().join("kubeconfig")
    }

    /// The kubeconfig for processes in any of the lab's namespaces.
    pub fn inner_kubeconfig(&self) -> PathBuf {
        self.directory().join("kubeconfig-inside")
    }

    /// Where the API server keeps its objects.
    pub fn api_directory(&self) -> PathBuf {
        self.directory().join("api")
    }

    /// Where the components log to, a file each.
    pub fn logs(&self) -> PathBuf {
        self.directory().join("logs")
    }

    /// What belongs to one node.
    pub fn node(&self, node: &str) -> PathBuf {
        self.directory().join("nodes").join(node)
    }

    /// The processes that hold namespaces, by what they stand for.
    pub fn holders(&self) -> PathBuf {
        self.directory().join("holders.json")
    }

    /// The records of running sandboxes.
    pub fn pods(&self) -> PathBuf {
        self.directory().join("pods")
    }

    /// Waits until no other command of this user starts or stops a lab.
    pub fn guard(&self) -> Result<Guard> {
        loop {
            provide_root(&self.root)?;
            let what = || format!("lock {}", self.root.display());
            let root = File::open(&self.root).map_err(Error::io(what()))?;
            flock(&root, FlockOperation::LockExclusive).map_err(Error::sys(what()))?;
            // Whoever held the lock may have removed the directory as the last lab went.
            if fs::metadata(&self.root).is_ok_and(|now| same_file(&root, &now)) {
                return Ok(Guard { _root: root });
            }
        }
    }

    /// Makes the directory, with `spec` in it. Leftovers of a lab that died are removed first.
    pub fn create(&self, spec: &Spec, _guard: &Guard) -> Result<()> {
        if self.is_alive()? {
            return Err(Error::Running(self.name.clone()));
        }
        self.clear()?;
        for directory in [self.directory(), self.logs(), self.pods(), self.api_directory()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(Error::io(format!("create {}", directory.display())))?;
        }
        self.write("spec.json", spec)
    }

    /// Removes the directory, and the root if no other lab is in it.
    pub fn remove(&self, _guard: &Guard) -> Result<()> {
        self.clear()?;
        // Fails while there are other labs, as it should.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        let directory = self.directory();
        match fs::remove_dir_all(&directory) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", directory.display()))(why))
            }
            _ => Ok(()),
        }
    }

    /// Marks the lab alive for as long as the calling process lives and keeps the file open.
    pub fn mark_alive(&self) -> Result<File> {
        let path = self.directory().join("alive");
        let what = || format!("lock {}", path.display());
        let options = OpenOptions::new().create(true).append(true).open(&path);
        let file = options.map_err(Error::io(what()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(Error::sys(what()))?;
        Ok(file)
    }

    /// Whether the lab's first process lives. The kernel answers: a lock goes with its holder, however that ends.
    pub fn is_alive(&self) -> Result<bool> {
        let path = self.directory().join("alive");
        match File::open(&path) {
            Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(Error::io(format!("open {}", path.display()))(why)),
        }
    }

    /// The names of all labs of this user, running or left behind.
    pub fn all() -> Vec<State> {
        let entries = fs::read_dir(root()).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names.iter().filter_map(|name| State::of(name).ok()).collect()
    }

    /// What the user asked for.
    pub fn spec(&self) -> Result<Spec> {
        self.read("spec.json")
    }

    /// Notes the lab's first process, as seen from the machine.
    pub fn set_init(&self, init: &Identity) -> Result<()> {
        self.write("init.json", init)
    }

    /// The lab's first process, as seen from the machine.
    pub fn init(&self) -> Result<Identity> {
        self.read("init.json")
    }

    fn write(&self, file: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.directory().join(file), value)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, file: &str) -> Result<T> {
        read_json(&self.directory().join(file))
    }
}

/// Writes a file so that readers see all of it or nothing.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::from);
    let text = text.map_err(Error::io(format!("write {}", path.display())))?;
    write_whole(path, &text)
}

/// As [`write_json`], for text.
pub fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let what = || format!("write {}", path.display());
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text).map_err(Error::io(what()))?;
    fs::rename(&new, path).map_err(Error::io(what()))
}

/// As [`write_whole`], for its owner's eyes alone.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    write_whole(path, text.as_bytes())?;
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, private).map_err(Error::io(format!("protect {}", path.display())))
}

/// Reads what [`write_json`] wrote.
pub fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let what = || format!("read {}", path.display());
    let text = fs::read(path).map_err(Error::io(what()))?;
    serde_json::from_slice(&text).map_err(|why| Error::io(what())(why.into()))
}

pub fn check_name(name: &str) -> Result<()> {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = name.len() <= 30
        && name.starts_with(ends)
        && name.ends_with(ends)
        && name.chars().all(|c| ends(c) || c == '-');
    if fine {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{name:?} is no name for a lab: up to 30 of a-z, 0-9 and -, beginning and ending with a letter or digit"
    )))
}

fn root() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // After `sudo` the variable may name another user's directory.
    let own = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == geteuid().as_raw());
    match runtime.filter(|path| path.is_absolute()).filter(own) {
        Some(runtime) => runtime.join("polynic-lab"),
        None => PathBuf::from(format!("/tmp/polynic-lab-{}", geteuid().as_raw())),
    }
}

/// Makes the root directory, or refuses one that somebody else could have prepared in /tmp.
fn provide_root(root: &Path) -> Result<()> {
    let what = || format!("create {}", root.display());
    match DirBuilder::new().mode(0o700).create(root) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(what())(why)),
        _ => {}
    }
    let found = match fs::symlink_metadata(root) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return provide_root(root),
        other => other.map_err(Error::io(what()))?,
    };
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::Input(format!("{} is not a private directory of this user: remove it first", root.display())))
}

fn same_file(open: &File, other: &fs::Metadata) -> bool {
    open.metadata().is_ok_and(|m| (m.dev(), m.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests;
