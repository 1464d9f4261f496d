//! Who holds what, without reading every file of the store.
//!
//! One small file for each attachment lists its addresses, in `<state>/host-local/<digest of the store's path>/`. It is only a
//! help: what it says is checked against the store before anything is removed, and when it says nothing the store is searched.
//! It counts as complete while the store's directory has the modification time and inode that the last of our processes left
//! it with; another implementation at work on the same store changes that. Times are coarse, so whoever changes the store takes
//! the note of them away first: what a killed process left is then searched for, however soon after another one it came.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};

use super::disk::Disk;
use super::store::{Entry, Owner};

pub(super) struct Index<'a> {
    disk: &'a dyn Disk,
    store: PathBuf,
    directory: PathBuf,
    complete: bool,
    /// This process has changed the store.
    changed: bool,
}

impl<'a> Index<'a> {
    pub(super) fn new(disk: &'a dyn Disk, state: &Path, store: &Path) -> Self {
        let digest: String = Sha512::digest(store.as_os_str().as_encoded_bytes())
            .iter()
            .take(16)
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut index = Self {
            disk,
            store: store.to_owned(),
            directory: state.join("host-local").join(digest),
            complete: false,
            changed: false,
        };
        index.complete = index.is_stamped();
        index
    }

    fn file(&self, owner: Owner<'_>) -> PathBuf {
        // Container ids hold no colon (spec/cni.md 1.2).
        self.directory.join(format!("{}:{}", owner.container_id, owner.ifname))
    }

    /// What the attachment may hold.
    pub(super) fn hints(&self, owner: Owner<'_>) -> Vec<IpAddr> {
        let text = fs::read_to_string(self.file(owner)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// All that the attachment holds, if the index knows everything.
    pub(super) fn complete(&self, owner: Owner<'_>) -> Option<Vec<IpAddr>> {
        self.complete.then(|| self.hints(owner))
    }

    pub(super) fn add(&mut self, ip: IpAddr, owner: Owner<'_>) {
        let mut ips = self.hints(owner);
        if !ips.contains(&ip) {
            ips.push(ip);
        }
        self.write(owner, &ips);
    }

    pub(super) fn remove(&mut self, ip: IpAddr, owner: Owner<'_>) {
        let mut ips = self.hints(owner);
        ips.retain(|known| *known != ip);
        self.write(owner, &ips);
    }

    fn write(&mut self, owner: Owner<'_>, ips: &[IpAddr]) {
        let path = self.file(owner);
        let text: String = ips.iter().map(|ip| format!("{ip}\n")).collect();
        let written = match text.is_empty() {
            true => self.disk.remove(&path).or(Ok(())),
            false => self.disk.write(&path, &text).or_else(|_| {
                self.disk.create_directory(&self.directory)?;
                self.disk.write(&path, &text)
            }),
        };
        self.complete &= written.is_ok();
    }

    /// Starts anew from everything that the store holds.
    pub(super) fn rebuild(&mut self, entries: &[Entry]) {
        let _ = self.disk.remove_all(&self.directory);
        self.complete = self.disk.create_directory(&self.directory).is_ok();
        for entry in entries {
            match entry.content.split_once("\r\n") {
                Some((id, ifname)) if is_plain(id.trim()) && is_plain(ifname.trim()) => {
                    self.add(entry.ip, Owner { container_id: id.trim(), ifname: ifname.trim() });
                }
                // Old files name no interface: with one of them around, only a search finds everything.
                _ if !entry.content.is_empty() => self.complete = false,
                _ => {}
            }
        }
    }

    /// The store is about to change.
    pub(super) fn will_change(&mut self) {
        if !self.changed {
            let _ = self.disk.remove(&self.stamp_path());
            self.changed = true;
        }
    }

    /// Something was removed by content; the next process starts anew.
    pub(super) fn forget_completeness(&mut self) {
        self.complete = false;
    }

    fn stamp_path(&self) -> PathBuf {
        self.directory.join("stamp")
    }

    fn stamp_text(&self) -> Option<String> {
        let meta = fs::metadata(&self.store).ok()?;
        Some(format!("{} {} {}.{}", meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
    }

    fn is_stamped(&self) -> bool {
        let written = fs::read_to_string(self.stamp_path()).ok();
        written.is_some() && written == self.stamp_text()
    }

    /// Notes how the store was left, if the index is complete.
    pub(super) fn stamp(&self) {
        let path = self.stamp_path();
        match self.stamp_text().filter(|_| self.complete) {
            Some(text) => drop(self.disk.write(&path, &text)),
            None => drop(self.disk.remove(&path)),
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ':', '\0']) && text != "." && text != ".."
}
