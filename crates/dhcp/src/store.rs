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
    mac: Mac,
    broadcast: bool,
    wishes: Wishes,
    lease: Lease,
    /// When it began: milliseconds since the machine was started.
    since_ms: u64,
}

impl Kept {
    pub(crate) fn new(who: &Identity, held: &Held, netns: (&str, NetnsId), ifname: &IfName) -> Self {
        Self {
            format: FORMAT,
            client_id: who.client_id.clone(),
            netns: netns.0.to_owned(),
            netns_id: netns.1,
            ifname: ifname.clone(),
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

    /// All leases that can be read.
    pub(crate) fn load(&self) -> Vec<Kept> {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path());
        let leases = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        leases.filter_map(|path| read(&path)).collect()
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<Kept> {
        read(&self.path(client_id)).filter(|kept| kept.client_id == client_id)
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
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn read(path: &Path) -> Option<Kept> {
    let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (kept.format == FORMAT).then_some(kept)
}
