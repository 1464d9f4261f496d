//! The store: one file for each address that is taken.
//!
//! `<dataDir>/<network>/<ip>` holds `<container id>\r\n<interface>`; `last_reserved_ip.<set>` the last address handed out;
//! `lock` is locked during each step. Files are made complete under another name and then linked, so a crash leaves no empty
//! ones; empty ones that others left count as free.
//!
//! Nothing is synced. No attachment outlives a boot, and so no address has to: a file that a power cut took along was that of a pod that is gone, and one
//! that it left empty is free.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::index::Index;

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    pub(super) container_id: &'a str,
    pub(super) ifname: &'a str,
}

impl Owner<'_> {
    fn content(self) -> String {
        format!("{}\r\n{}", self.container_id, self.ifname)
    }
}

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", .path.display())]
pub(super) struct StoreError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { what, path: path.to_owned(), source }
}

/// An open store, locked until it is dropped.
pub(super) struct Store<'a> {
    disk: &'a dyn Disk,
    directory: PathBuf,
    index: Index<'a>,
    _lock: File,
}

impl<'a> Store<'a> {
    /// Opens and locks the store of a network, creating it if need be.
    pub(super) fn open(
        disk: &'a dyn Disk,
        data_dir: &Path,
        network: &str,
        state: &Path,
    ) -> Result<Self, StoreError> {
        let directory = data_dir.join(network);
        disk.create_directory(&directory).map_err(failed("create directory", &directory))?;
        let path = directory.join("lock");
        let lock = disk.open_lock(&path).map_err(failed("open", &path))?;
        lock.lock().map_err(failed("lock", &path))?;
        let index = Index::new(disk, state, &directory);
        let store = Self { disk, directory, index, _lock: lock };
        // Only the lock's holder writes it: one that is there is of a process that was killed.
        let _ = disk.remove(&store.unfinished());
        Ok(store)
    }

    /// The name under which files are made complete.
    fn unfinished(&self) -> PathBuf {
        self.directory.join(".new")
    }

    fn file(&self, ip: IpAddr) -> PathBuf {
        self.directory.join(ip.to_string())
    }

    /// Takes an address; `false` if it is taken already. Remembers it as the last of its set.
    pub(super) fn reserve(&mut self, ip: IpAddr, set: usize, owner: Owner<'_>) -> Result<bool, StoreError> {
        let path = self.file(ip);
        let content = owner.content();
        if !self.link(&content, &path)? {
            return Ok(false);
        }
        let last = self.directory.join(format!("last_reserved_ip.{set}"));
        let complete = self.unfinished();
        let written = self.disk.create(&complete, &ip.to_string());
        let written = written.and_then(|()| self.disk.rename(&complete, &last));
        written.map_err(failed("write", &last))?;
        self.index.add(ip, owner);
        Ok(true)
    }

    fn link(&mut self, content: &str, path: &Path) -> Result<bool, StoreError> {
        // Most candidates of a full range are taken: look before making a file.
        if fs::metadata(path).is_ok_and(|m| m.len() > 0) {
            return Ok(false);
        }
        self.index.will_change();
        let complete = self.unfinished();
        self.disk.create(&complete, content).map_err(failed("write", &complete))?;
        let linked = match self.disk.link(&complete, path) {
            // Empty: a crash of another implementation. The file that replaces it is complete at once.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return self.disk.rename(&complete, path).map(|()| true).map_err(failed("replace", path));
            }
            linked => linked.map_err(failed("link", path)),
        };
        let removed = self.disk.remove(&complete).map_err(failed("remove", &complete));
        linked.and(removed).map(|()| true)
    }

    /// Whether nobody holds the address.
    pub(super) fn is_free(&self, ip: IpAddr) -> Result<bool, StoreError> {
        let path = self.file(ip);
        match fs::metadata(&path) {
            Ok(meta) => Ok(meta.len() == 0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(failed("look at", &path)(e)),
        }
    }

    /// Gives one address back, if it is the owner's.
    pub(super) fn free(&mut self, ip: IpAddr, owner: Owner<'_>) -> Result<bool, StoreError> {
        let path = self.file(ip);
        if !read(&path).is_some_and(|content| is_owned(&content, owner)) {
            return Ok(false);
        }
        self.index.will_change();
        self.disk.remove(&path).map_err(failed("remove", &path))?;
        self.index.remove(ip, owner);
        Ok(true)
    }

    /// The last address handed out from a set.
    pub(super) fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        read(&self.directory.join(format!("last_reserved_ip.{set}")))?.trim().parse().ok()
    }

    /// The addresses that the owner holds: by container and interface, else those of old files that name only the container.
    pub(super) fn held_by(&mut self, owner: Owner<'_>) -> Result<Vec<IpAddr>, StoreError> {
        if let Some(known) = self.index.complete(owner) {
            return Ok(known);
        }
        let entries = self.entries()?;
        self.index.rebuild(&entries);
        let held = |e: &&Entry| is_owned(&e.content, owner) || e.content.trim() == owner.container_id;
        Ok(entries.iter().filter(held).map(|e| e.ip).collect())
    }

    /// Whether the owner holds anything.
    pub(super) fn holds(&self, owner: Owner<'_>) -> Result<bool, StoreError> {
        let indexed = self
            .index
            .hints(owner)
            .into_iter()
            .any(|ip| read(&self.file(ip)).is_some_and(|content| is_owned(&content, owner)));
        if indexed {
            return Ok(true);
        }
        let entries = self.entries()?;
        Ok(entries.iter().any(|e| is_owned(&e.content, owner) || e.content.trim() == owner.container_id))
    }

    /// Gives back everything that the owner holds: by container and interface, or, if there is none of those, by container.
    pub(super) fn release(&mut self, owner: Owner<'_>) -> Result<(), StoreError> {
        let mut freed = 0;
        for ip in self.index.hints(owner) {
            freed += usize::from(self.free(ip, owner)?);
        }
        if freed > 0 && self.index.complete(owner).is_some_and(|rest| rest.is_empty()) {
            return Ok(());
        }
        let entries = self.entries()?;
        let (exact, old): (Vec<_>, Vec<_>) = entries.iter().partition(|e| is_owned(&e.content, owner));
        let by_container = old.into_iter().filter(|e| e.content.trim() == owner.container_id);
        let doomed: Vec<_> = match exact.is_empty() && freed == 0 {
            true => by_container.collect(),
            false => exact,
        };
        self.remove(&doomed)
    }

    /// Gives back everything that `keep` does not want to keep, given container and interface (absent in old files).
    pub(super) fn retain(&mut self, keep: impl Fn(&str, Option<&str>) -> bool) -> Result<(), StoreError> {
        let entries = self.entries()?;
        let doomed: Vec<_> = entries
            .iter()
            .filter(|e| !e.content.is_empty())
            .filter(|e| match e.content.split_once("\r\n") {
                Some((id, ifname)) => !keep(id.trim(), Some(ifname.trim())),
                None => !keep(e.content.trim(), None),
            })
            .collect();
        self.remove(&doomed)
    }

    fn remove(&mut self, doomed: &[&Entry]) -> Result<(), StoreError> {
        if !doomed.is_empty() {
            self.index.will_change();
            self.index.forget_completeness();
        }
        for entry in doomed {
            let path = self.file(entry.ip);
            self.disk.remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Every address file with its content.
    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let files = fs::read_dir(&self.directory).map_err(failed("list", &self.directory))?;
        let ips = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse::<IpAddr>().ok());
        Ok(ips.filter_map(|ip| Some(Entry { ip, content: read(&self.file(ip))? })).collect())
    }
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        self.index.stamp();
    }
}

/// An address that is taken.
pub(super) struct Entry {
    pub(super) ip: IpAddr,
    pub(super) content: String,
}

fn is_owned(content: &str, owner: Owner<'_>) -> bool {
    content.trim() == owner.content().trim()
}

/// An unreadable file is treated as one that is not there: others may be removing it.
fn read(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
