//! The file in which kubelet remembers the devices it has given away, for nodes without its pod-resources socket.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polynic_attach::{Devices, PodInfo};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    resource_name: String,
    #[serde(rename = "DeviceIDs")]
    device_ids: Option<Ids>,
}

/// By NUMA node, or flat as kubelets before 1.20 write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    ByNode(BTreeMap<String, Option<Vec<String>>>),
    Flat(Vec<String>),
}

/// Adds the devices of a pod, which the file knows by its UID.
pub(super) fn collect(file: &Path, pod: &PodInfo, devices: &mut Devices) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    let read: Checkpoint =
        serde_json::from_slice(&bytes).map_err(|why| format!("{} is broken: {why}", file.display()))?;
    let entries = read.data.pod_device_entries.unwrap_or_default();
    for entry in entries.into_iter().filter(|entry| entry.pod_uid == pod.uid) {
        let ids = entry.device_ids.map(Ids::into_list).unwrap_or_default();
        ids.iter().for_each(|id| devices.add(&entry.resource_name, id));
    }
    Ok(())
}

impl Ids {
    fn into_list(self) -> Vec<String> {
        match self {
            Ids::ByNode(nodes) => nodes.into_values().flatten().flatten().collect(),
            Ids::Flat(ids) => ids,
        }
    }
}
