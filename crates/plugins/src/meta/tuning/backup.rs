//! `<dataDir>/<container id>_<interface>.json`: what an interface was like before it was changed (spec/plugins.md 3.1).
//!
//! Whoever goes back to the replaced plugin has it restored from there. We restore from the record, and from the file where an attachment has
//! none of ours.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polynic_cni::{Error, Success};
use polynic_net::{Attr, Facts, LinkFact, Mac, Place};
use serde::{Deserialize, Serialize};

use super::config::Wanted;
use crate::{Call, Ledger};

/// The old values; absent ones were not changed.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Old {
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    tx_queue_len: Option<u32>,
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The file of an attachment.
pub(super) struct Backup {
    file: PathBuf,
    /// Which attributes are to be changed.
    wanted: Wanted,
}

impl Backup {
    /// Of an attachment that changes more than settings.
    pub(super) fn new(wanted: &Wanted, call: &Call<'_>) -> Option<Self> {
        let file = file(&wanted.data_dir, call);
        wanted.changes_link().then(|| Self { file, wanted: wanted.clone() })
    }

    /// Another `tuning` of the same chain may have been there first: what it found is older.
    fn write(&self, link: &LinkFact) -> io::Result<()> {
        let mut old = Old::of(link, &self.wanted);
        if let Some(older) = read(&self.file) {
            old = older.or(old);
        }
        if let Some(directory) = self.file.parent() {
            // With the right to enter, without which its owner, if it is not root, could not use it.
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let spare = self.file.with_extension("new");
        let mut text = Vec::new();
        let one_blank = serde_json::ser::PrettyFormatter::with_indent(b" ");
        old.serialize(&mut serde_json::Serializer::with_formatter(&mut text, one_blank))?;
        let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        io::Write::write_all(&mut options.open(&spare)?, &text)?;
        fs::rename(spare, &self.file)
    }
}

impl Ledger for Backup {
    fn is_ours(&self) -> bool {
        true
    }

    fn enter(&self, call: &Call<'_>, facts: &Facts, _result: &Success) -> Result<(), Error> {
        let Some(link) = facts.link(Place::Pod, &call.ifname) else { return Ok(()) };
        self.write(link).map_err(|e| call.error(format!("cannot write {}: {e}", self.file.display())))
    }

    fn strike(&self, call: &Call<'_>) -> Result<(), Error> {
        match fs::remove_file(&self.file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(call.error(format!("cannot remove {}: {e}", self.file.display())))
            }
            _ => Ok(()),
        }
    }
}

fn file(data_dir: &Path, call: &Call<'_>) -> PathBuf {
    data_dir.join(format!("{}_{}.json", call.container_id(), call.ifname))
}

fn read(file: &Path) -> Option<Old> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Reads the file and removes it. `None`: there is none, or nothing that can be read.
pub(super) fn take(data_dir: &Path, call: &Call<'_>) -> Option<Old> {
    let file = file(data_dir, call);
    let old = read(&file);
    // Nobody will come for it a second time.
    let _ = fs::remove_file(&file);
    old
}

impl Old {
    /// What a link has of all that is wanted otherwise.
    fn of(link: &LinkFact, wanted: &Wanted) -> Self {
        Self {
            mac: wanted.mac.and(link.mac).map(|mac| mac.to_string()).unwrap_or_default(),
            promisc: wanted.promisc.then_some(link.promisc),
            mtu: wanted.mtu.map_or(0, |_| link.mtu),
            allmulti: wanted.all_multi.map(|_| link.all_multicast),
            tx_queue_len: wanted.tx_queue_len.map(|_| link.tx_queue_len),
        }
    }

    fn or(self, later: Self) -> Self {
        Self {
            mac: if self.mac.is_empty() { later.mac } else { self.mac },
            promisc: self.promisc.or(later.promisc),
            mtu: if self.mtu == 0 { later.mtu } else { self.mtu },
            allmulti: self.allmulti.or(later.allmulti),
            tx_queue_len: self.tx_queue_len.or(later.tx_queue_len),
        }
    }

    /// Present and old value of each attribute, in the order in which the replaced plugin restores them.
    pub(super) fn attributes(&self, link: &LinkFact) -> Vec<(Attr, Attr)> {
        let mtu = (self.mtu != 0).then_some((Attr::Mtu(link.mtu), Attr::Mtu(self.mtu)));
        let mac = self.mac.parse::<Mac>().ok().zip(link.mac);
        let mac = mac.map(|(old, now)| (Attr::Mac(now), Attr::Mac(old)));
        let promisc = self.promisc.map(|on| (Attr::Promisc(link.promisc), Attr::Promisc(on)));
        let multicast = self.allmulti.map(|on| (Attr::AllMulti(link.all_multicast), Attr::AllMulti(on)));
        let length =
            self.tx_queue_len.map(|len| (Attr::TxQueueLen(link.tx_queue_len), Attr::TxQueueLen(len)));
        [mtu, mac, promisc, multicast, length].into_iter().flatten().filter(|(now, old)| now != old).collect()
    }
}
