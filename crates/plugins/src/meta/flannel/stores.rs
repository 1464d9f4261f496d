//! One store of addresses for all flannel networks that have one subnet.
//!
//! host-local keeps a directory per network name, but every flannel network of a node has the node's subnet, and two stores would
//! hand out the same address (spec/flannel.md 13, "Addresses"). So the store of a second network is a link to the first one's. Entries name
//! container and interface, and so nobody releases another's.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use polynic_cni::json::{self, get_ci};
use polynic_cni::{Attachment, GoMap, JsonMap};
use serde_json::Value;

use super::state::{Note, Notes};

/// Where host-local keeps its stores (spec/plugins.md 2.1).
const STORES: &str = "/var/lib/cni/networks";

/// Makes sure that the delegate's network has the store of the other networks with its subnet.
///
/// # Errors
/// The link cannot be made.
pub(super) fn share(notes: &Notes, delegate: &JsonMap) -> io::Result<()> {
    let Some(own) = Store::of(delegate) else { return Ok(()) };
    let _lock = notes.lock()?;
    let others = siblings(notes, &own);
    if others.is_empty() || own.is_used() {
        return Ok(());
    }
    let used = others.iter().find(|other| other.is_used());
    let first = used.or_else(|| others.iter().min_by_key(|other| &other.network));
    match first {
        Some(first) if used.is_some() || first.network < own.network => own.link_to(&first.directory()),
        _ => Ok(()),
    }
}

/// The attachments of other networks that have addresses in the delegate's store: valid, whatever the list of this network says.
pub(super) fn guests(notes: &Notes, delegate: &JsonMap) -> Vec<Attachment> {
    let Some(own) = Store::of(delegate) else { return Vec::new() };
    let foreign = notes.all().into_iter().filter(|note| shares(note, &own).is_some());
    let attachment = |note: Note| Some(Attachment { container_id: note.container_id, ifname: note.ifname? });
    foreign.filter_map(attachment).collect()
}

fn siblings(notes: &Notes, own: &Store) -> Vec<Store> {
    let mut found: Vec<Store> = notes.all().iter().filter_map(|note| shares(note, own)).collect();
    found.dedup_by(|a, b| a.network == b.network);
    found
}

/// The store of a note, if it is another network's with the same subnet.
fn shares(note: &Note, own: &Store) -> Option<Store> {
    let store = Store::of(&json::parse_object(note.text.as_bytes()).ok()?)?;
    let same = store.parent == own.parent && store.ranges == own.ranges && store.network != own.network;
    same.then_some(store)
}

struct Store {
    parent: PathBuf,
    network: String,
    ranges: Value,
}

impl Store {
    /// The store of a delegate whose addresses are host-local's.
    fn of(delegate: &JsonMap) -> Option<Self> {
        let ipam = GoMap(delegate).object("ipam").ok()??;
        if GoMap(ipam).string("type") != Ok("host-local") {
            return None;
        }
        let parent = GoMap(ipam).string("dataDir").unwrap_or_default();
        let parent = if parent.is_empty() { STORES } else { parent };
        let network = GoMap(delegate).string("name").ok()?.to_owned();
        Some(Self { parent: parent.into(), network, ranges: get_ci(ipam, "ranges")?.clone() })
    }

    fn directory(&self) -> PathBuf {
        self.parent.join(&self.network)
    }

    /// Whether it holds anything: a lock or a hint alone are nothing. A link to another store that is there counts as used.
    fn is_used(&self) -> bool {
        let directory = self.directory();
        if directory.is_symlink() {
            return directory.is_dir();
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .any(|name| name.parse::<std::net::IpAddr>().is_ok())
    }

    fn link_to(&self, first: &Path) -> io::Result<()> {
        fs::create_dir_all(first)?;
        let own = self.directory();
        if own.is_symlink() {
            fs::remove_file(&own)?;
        } else if own.exists() {
            fs::remove_dir_all(&own)?;
        }
        symlink(first, own)
    }
}
