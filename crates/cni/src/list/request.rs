//! The request configuration of one plugin call (spec/cni.md 3.4).

use serde_json::Value;

use super::{RuntimeConf, text};
use crate::attachment::{ATTACHMENTS, Attachment, VALID_ATTACHMENTS};
use crate::conflist::{ConfList, PluginEntry};
use crate::error::Error;
use crate::json::{self, JsonMap};
use crate::result::Success;

/// For ADD, CHECK and DEL: with prevResult and the runtime's values for the plugin's capabilities.
pub(super) fn attachment_request(
    list: &ConfList,
    plugin: &PluginEntry,
    conf: &RuntimeConf,
    previous: Option<&Success>,
) -> Result<Vec<u8>, Error> {
    let mut map = with_network(list, plugin);
    if let Some(previous) = previous {
        map.insert("prevResult".to_owned(), previous_value(list, previous)?);
    }
    let supplied = runtime_config(plugin, conf);
    if !supplied.is_empty() {
        map.insert("runtimeConfig".to_owned(), Value::Object(supplied));
    }
    Ok(json::print_sorted(&Value::Object(map)).into_bytes())
}

/// For GC and STATUS: with the valid attachments, if a list was given.
pub(super) fn network_request(
    list: &ConfList,
    plugin: &PluginEntry,
    valid: Option<&[Attachment]>,
) -> Vec<u8> {
    let mut map = with_network(list, plugin);
    if let Some(valid) = valid {
        let valid = json::to_value(&valid);
        map.insert(VALID_ATTACHMENTS.to_owned(), valid.clone());
        map.insert(ATTACHMENTS.to_owned(), valid);
    }
    json::print_sorted(&Value::Object(map)).into_bytes()
}

fn with_network(list: &ConfList, plugin: &PluginEntry) -> JsonMap {
    let mut map = plugin.raw.clone();
    map.insert("name".to_owned(), text(&list.name));
    map.insert("cniVersion".to_owned(), text(&list.cni_version));
    map
}

/// In the list's version where it can be said in that, so that a plugin that answered in another version
/// does not break the next one.
fn previous_value(list: &ConfList, previous: &Success) -> Result<Value, Error> {
    let listed = list.version().ok().and_then(|version| previous.to_value(version).ok());
    listed.map_or_else(|| previous.to_value(previous.cni_version), Ok)
}

fn runtime_config(plugin: &PluginEntry, conf: &RuntimeConf) -> JsonMap {
    let wanted = plugin.capabilities.iter().filter(|(_, on)| **on);
    let supplied = wanted.filter_map(|(key, _)| conf.capability_args.get_key_value(key));
    supplied.map(|(key, value)| (key.clone(), value.clone())).collect()
}
