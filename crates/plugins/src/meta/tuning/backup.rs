//! `<dataDir>/<container id>_<interface>.json`: what the replaced plugin found before it changed an interface. It is read, and
//! removed, where an attachment has no record of ours.

use std::fs;
use std::path::Path;

use polynic_net::{Attr, LinkFact, Mac};
use serde::Deserialize;

use crate::Call;

/// The old values; absent ones were not changed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Old {
    mac: String,
    promisc: Option<bool>,
    mtu: u32,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_queue_len: Option<u32>,
}

/// Reads the file and removes it. `None`: there is none, or nothing that can be read.
pub(super) fn take(data_dir: &Path, call: &Call<'_>) -> Option<Old> {
    let file = data_dir.join(format!("{}_{}.json", call.container_id(), call.ifname));
    let text = fs::read(&file).ok()?;
    // Nobody will come for it a second time.
    let _ = fs::remove_file(&file);
    serde_json::from_slice(&text).ok()
}

impl Old {
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
