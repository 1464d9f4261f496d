//! One file of the cache.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Key;
use crate::error::Error;
use crate::json::{self, JsonMap};

const KIND: &str = "cniCacheV1";

/// What the cache keeps of an attachment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// The container id.
    pub container_id: String,
    /// The network's list as it was read.
    pub config: Vec<u8>,
    /// The interface's name in the pod.
    pub ifname: String,
    /// The network's name.
    pub network: String,
    /// Path of the pod's namespace; files of old runtimes have none.
    pub netns: String,
    /// The pairs of `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// What the runtime supplied for capabilities.
    pub capability_args: JsonMap,
    /// The final result in its printed form.
    pub result: JsonMap,
}

/// The file, in its order of keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cni_args: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    capability_args: JsonMap,
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    result: JsonMap,
}

impl Entry {
    /// What names the file.
    pub fn key(&self) -> Key<'_> {
        Key { network: &self.network, container_id: &self.container_id, ifname: &self.ifname }
    }

    /// The file's content: one compact line without newline.
    pub fn to_json(&self) -> String {
        let pair = |(key, value): &(String, String)| vec![key.clone(), value.clone()];
        json::print_compact(&File {
            kind: KIND.to_owned(),
            container_id: self.container_id.clone(),
            config: STANDARD.encode(&self.config),
            if_name: self.ifname.clone(),
            network_name: self.network.clone(),
            netns: self.netns.clone(),
            cni_args: self.args.iter().map(pair).collect(),
            capability_args: sorted(&self.capability_args),
            result: sorted(&self.result),
        })
    }

    /// Reads a file of the current kind; another kind, an incomplete or a broken one is an error.
    pub fn from_json(bytes: &[u8]) -> Result<Entry, Error> {
        let file: File = json::from_slice(bytes).map_err(|why| broken(&why.to_string()))?;
        if file.kind != KIND {
            return Err(broken(&format!("unknown kind {:?}", file.kind)));
        }
        if file.container_id.is_empty() || file.if_name.is_empty() || file.network_name.is_empty() {
            return Err(broken("containerId, ifName or networkName is missing"));
        }
        Ok(Entry {
            container_id: file.container_id,
            config: STANDARD.decode(file.config).map_err(|why| broken(&format!("config: {why}")))?,
            ifname: file.if_name,
            network: file.network_name,
            netns: file.netns,
            args: file.cni_args.into_iter().map(pair).collect(),
            capability_args: file.capability_args,
            result: file.result,
        })
    }
}

fn broken(why: &str) -> Error {
    Error::internal(format!("cache file: {why}"))
}

/// As Go reads an array of two: what is missing is empty, what is too much is dropped.
fn pair(mut items: Vec<String>) -> (String, String) {
    items.resize(2, String::new());
    let value = items.pop().unwrap_or_default();
    (items.pop().unwrap_or_default(), value)
}

/// The same object with its keys in order at every level, whatever order this build's maps keep.
fn sorted(map: &JsonMap) -> JsonMap {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter().map(|(key, value)| (key.clone(), sorted_value(value))).collect()
}

fn sorted_value(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(sorted(map)),
        Value::Array(items) => Value::Array(items.iter().map(sorted_value).collect()),
        other => other.clone(),
    }
}
