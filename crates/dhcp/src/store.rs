//! Leases on disk, so that a daemon that is started anew goes on where the last one ended. One file each, complete or not there.
//!
//! They live in /run: the interfaces that they are for end with the boot as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use polynic_kernel::NetnsId;
use polynic_net::{IfName, Mac};
use serde::{Deserialize, Serialize};

use crate::client::{Held, Identity};
use crate::lease::Lease;
use crate::site::Site;
use crate::wishes::Wishes;

/// The form of the files. Others are left alone.
const FORMAT: u32 = 1;
/// The longest name of a file without its ending.
const LONGEST_NAME: usize = 200;

/// A lease, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    format: u32,
    /// What the server knows the client by.
    pub(crate) client_id: String,
    /// Path of the namespace.
    pub(crate) netns: String,
    /// The namespace that was there.
    pub(crate) netns_id: NetnsId,
    /// The interface.
    pub(crate) ifname: IfName,
    /// Its index; files of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    mac: Mac,
    broadcast: bool,
    wishes: Wishes,
    lease: Lease,
    /// When it began: milliseconds since the machine was started.
    since_ms: u64,
}

impl Kept {
    pub(crate) fn new(who: &Identity, held: &Held, site: &Site) -> Self {
        Self {
            format: FORMAT,
            client_id: who.client_id.clone(),
            netns: site.netns.clone(),
            netns_id: site.id,
            ifname: site.ifname.clone(),
            index: site.index,
            mac: who.mac,
            broadcast: who.broadcast,
            wishes: who.wishes.clone(),
            lease: held.lease.clone(),
            since_ms: held.since.as_millis() as u64,
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            mac: self.mac,
            client_id: self.client_id.clone(),
            broadcast: self.broadcast,
            wishes: self.wishes.clone(),
        }
    }

    pub(crate) fn held(&self) -> Held {
        Held { lease: self.lease.clone(), since: std::time::Duration::from_millis(self.since_ms) }
    }
}

/// The directory of leases.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf);

impl Store {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// All leases, and why some could not be read just now. What is no lease, or of another format, is left alone.
    pub(crate) fn load(&self) -> (Vec<Kept>, Option<io::Error>) {
        let files = match fs::read_dir(&self.0) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return (Vec::new(), None),
            Err(e) => return (Vec::new(), Some(e)),
        };
        let (mut leases, mut failed) = (Vec::new(), None);
        for file in files {
            let path = match file {
                Ok(file) => file.path(),
                Err(e) => return (leases, Some(e)),
            };
            if path.extension().is_some_and(|ending| ending == "json") {
                match read(&path) {
                    Ok(kept) => leases.extend(kept),
                    Err(e) => failed = Some(e),
                }
            }
        }
        (leases, failed)
    }

    pub(crate) fn find(&self, client_id: &str) -> io::Result<Option<Kept>> {
        Ok(read(&self.path(client_id))?.filter(|kept| kept.client_id == client_id))
    }

    pub(crate) fn keep(&self, kept: &Kept) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let path = self.path(&kept.client_id);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(kept)?)?;
        fs::rename(new, path)
    }

    pub(crate) fn forget(&self, client_id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(client_id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// The id with nothing in it that could lead elsewhere. Of a long one the end counts too.
    fn path(&self, client_id: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { ':' };
        let name: String = client_id.chars().map(plain).take(LONGEST_NAME).collect();
        self.0.join(format!("{name}:{:016x}.json", digest(client_id)))
    }
}

/// FNV-1a, so that ids that look the same as names of files do not become one.
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The lease in a file, if it is there and is one.
fn read(path: &Path) -> io::Result<Option<Kept>> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(serde_json::from_slice(&text).ok().filter(|kept: &Kept| kept.format == FORMAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_just_now_is_told_and_what_is_no_lease_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(&directory.path().join("leases"));
        assert!(matches!(store.load(), (leases, None) if leases.is_empty()), "there was no daemon yet");
        fs::create_dir(&store.0).unwrap();
        fs::write(store.path("a/lan/net1"), "{").unwrap();
        assert!(matches!(store.load(), (leases, None) if leases.is_empty()));
        assert!(store.find("a/lan/net1").unwrap().is_none());
        // A directory cannot be read as a file, whoever tries.
        fs::create_dir(store.path("b/lan/net1")).unwrap();
        assert!(matches!(store.load(), (_, Some(_))));
        assert!(store.find("b/lan/net1").is_err());
        store.forget("a/lan/net1").unwrap();
        store.forget("a/lan/net1").unwrap();
    }
}
