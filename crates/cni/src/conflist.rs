//! Network configuration lists as a runtime loads them (spec/cni.md 3.1 and 3.2).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::{self, JsonMap};
use crate::version::{BadNumber, Numeric, UnknownVersion, Version};

mod files;
mod load_error;

pub use files::{find, first_loadable, load};
pub use load_error::LoadError;

/// A network: plugins that are called in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfList {
    /// The network's name.
    pub name: String,
    /// The version of all requests, as written or chosen from `cniVersions`; empty = 0.1.0. It may be one
    /// that we do not know: then the plugins refuse.
    pub cni_version: String,
    /// CHECK does nothing.
    pub disable_check: bool,
    /// GC does nothing.
    pub disable_gc: bool,
    /// Do not look for further plugins beside the file.
    pub load_only_inlined_plugins: bool,
    /// In the order of ADD. Empty only between parsing and loading what lies beside the file.
    pub plugins: Vec<PluginEntry>,
    /// The list as it was read; the result cache keeps it.
    pub bytes: Vec<u8>,
}

/// One plugin of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginEntry {
    /// Its type, which is its file name.
    pub plugin_type: String,
    /// The plugin object's own name, or empty; only for messages.
    pub name: String,
    /// Which `runtimeConfig` keys it wants.
    pub capabilities: BTreeMap<String, bool>,
    /// The object as written.
    pub raw: JsonMap,
}

impl ConfList {
    /// Reads a list from bytes. Plugins beside a file are not looked for: see [`load`].
    pub fn parse(bytes: &[u8]) -> Result<ConfList, LoadError> {
        let map = object(bytes).map_err(LoadError::List)?;
        let list = |why: String| LoadError::List(why);
        let inlined = switch(&map, "loadOnlyInlinedPlugins")?;
        Ok(ConfList {
            name: name(&map).map_err(list)?,
            cni_version: version(&map).map_err(list)?,
            disable_check: switch(&map, "disableCheck")?,
            disable_gc: switch(&map, "disableGC")?,
            load_only_inlined_plugins: inlined,
            plugins: plugins(&map, inlined)?,
            bytes: bytes.to_vec(),
        })
    }

    /// Reads a single plugin object and makes it a list of one.
    pub fn parse_single(bytes: &[u8]) -> Result<ConfList, LoadError> {
        let map = object(bytes).map_err(LoadError::Plugin)?;
        let known = PluginEntry::known(&map)?;
        let list = json!({"name": known.name, "cniVersion": known.cni_version, "plugins": [map]});
        ConfList::parse(json::print_sorted(&list).as_bytes())
    }

    /// Reads either form: an object with `plugins` is a list.
    pub fn parse_any(bytes: &[u8]) -> Result<ConfList, LoadError> {
        let map = object(bytes).map_err(LoadError::List)?;
        if map.contains_key("plugins") { ConfList::parse(bytes) } else { ConfList::parse_single(bytes) }
    }

    /// The version of the requests, if it is one that we know.
    pub fn version(&self) -> Result<Version, UnknownVersion> {
        Version::or_oldest(&self.cni_version)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Known {
    name: String,
    cni_version: String,
    r#type: String,
    capabilities: BTreeMap<String, bool>,
}

impl PluginEntry {
    /// Reads one plugin object.
    pub fn parse(bytes: &[u8]) -> Result<PluginEntry, LoadError> {
        PluginEntry::from_map(object(bytes).map_err(LoadError::Plugin)?)
    }

    /// As [`PluginEntry::parse`], for an object that is already there.
    pub fn from_map(raw: JsonMap) -> Result<PluginEntry, LoadError> {
        let Known { name, r#type, capabilities, .. } = PluginEntry::known(&raw)?;
        Ok(PluginEntry { plugin_type: r#type, name, capabilities, raw })
    }

    fn known(raw: &JsonMap) -> Result<Known, LoadError> {
        let known: Known = json::from_map(raw).map_err(|why| LoadError::Plugin(why.to_string()))?;
        if known.r#type.is_empty() {
            return Err(LoadError::Plugin("missing 'type'".to_owned()));
        }
        Ok(known)
    }
}

fn object(bytes: &[u8]) -> Result<JsonMap, String> {
    json::parse_object(bytes).map_err(|why| why.to_string())
}

// The keys of the list itself match exactly, as libcni reads them from a generic map.

fn name(map: &JsonMap) -> Result<String, String> {
    match map.get("name") {
        None => Err("no name".to_owned()),
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(format!("invalid name type {}", go_type(other))),
    }
}

/// The highest of `cniVersions` and `cniVersion` that is not newer than ourselves.
fn version(map: &JsonMap) -> Result<String, String> {
    let written = match map.get("cniVersion") {
        None => "",
        Some(Value::String(text)) => text,
        Some(other) => return Err(format!("invalid cniVersion type {}", go_type(other))),
    };
    let others = match map.get("cniVersions") {
        None => return Ok(written.to_owned()),
        Some(Value::Array(others)) => others,
        Some(other) => return Err(format!("invalid type for cniVersions: {}", go_type(other))),
    };
    let mut best: Option<(Numeric, &str)> = None;
    let mut offer = |text| {
        let number = Numeric::parse(text)?;
        if number <= Version::NEWEST.into() && best.is_none_or(|(highest, _)| number >= highest) {
            best = Some((number, text));
        }
        Ok::<(), BadNumber>(())
    };
    for (index, other) in others.iter().enumerate() {
        let wrong = || format!("invalid type for cniVersions index {index}: {}", go_type(other));
        let text = other.as_str().ok_or_else(wrong)?;
        offer(text).map_err(|why| format!("invalid cniVersions entry {text} at index {index}: {why}"))?;
    }
    if !written.is_empty() {
        offer(written).map_err(|why| format!("invalid cniVersion {written}: {why}"))?;
    }
    Ok(best.map_or(written, |(_, text)| text).to_owned())
}

/// A boolean, or its name as text in any case.
fn switch(map: &JsonMap, key: &str) -> Result<bool, LoadError> {
    match map.get(key) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(Value::String(text)) => Err(LoadError::List(format!("invalid value {text:?} for {key}"))),
        Some(other) => Err(LoadError::List(format!("invalid type {} for {key}", go_type(other)))),
    }
}

fn plugins(map: &JsonMap, only_inlined: bool) -> Result<Vec<PluginEntry>, LoadError> {
    let items = match map.get("plugins") {
        None if only_inlined => {
            let text = "`loadOnlyInlinedPlugins` is true, and no 'plugins' key";
            return Err(LoadError::List(text.to_owned()));
        }
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.is_empty() => {
            return Err(LoadError::List("no plugins in list".to_owned()));
        }
        Some(Value::Array(items)) => items,
        Some(other) => return Err(LoadError::List(format!("invalid 'plugins' type {}", go_type(other)))),
    };
    items.iter().enumerate().map(inlined_plugin).collect()
}

fn inlined_plugin((index, item): (usize, &Value)) -> Result<PluginEntry, LoadError> {
    let wrong = |source| LoadError::Inlined { index, source: Box::new(source) };
    match item {
        Value::Object(raw) => PluginEntry::from_map(raw.clone()).map_err(wrong),
        other => Err(wrong(LoadError::Plugin(json::JsonError::wrong_type(other, "object").to_string()))),
    }
}

/// What Go's `%T` prints for a decoded value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests;
