//! The scratch cache: which delegates a container got, in order, for its DEL (spec/multus.md 9.1).
//!
//! Field names are exact; other programs, and we after a roll-back and back, read the file.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use polynic_cni::json::{self, JsonError};
use polynic_cni::{ConfList, Dns, PluginConf, PluginEntry};
use polynic_net::Route;
use serde::{Deserialize, Serialize};

use crate::delegate_conf::{DelegateConf, DelegateError, Filter, Origin, Request};

/// The file of one container.
#[derive(Clone, Debug)]
pub struct Scratch {
    path: PathBuf,
}

/// Why a file does not tell what a container got.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It is cut short, or no file of this kind.
    #[error("{0} is broken: {1}")]
    Json(PathBuf, JsonError),
    /// A configuration in it is no base64.
    #[error("{0} holds a configuration that is no base64: {1}")]
    Base64(PathBuf, base64::DecodeError),
    /// A configuration in it is wrong.
    #[error("{0} holds a wrong configuration")]
    Delegate(PathBuf, #[source] DelegateError),
    /// It cannot be written.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(rename = "Conf")]
    conf: LossyConf,
    #[serde(rename = "ConfList")]
    conf_list: LossyList,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "ifnameRequest", skip_serializing_if = "String::is_empty")]
    interface: String,
    #[serde(rename = "macRequest", skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(rename = "infinibandGUIDRequest", skip_serializing_if = "String::is_empty")]
    infiniband_guid: String,
    #[serde(rename = "ipRequest", skip_serializing_if = "Vec::is_empty")]
    ips: Vec<String>,
    #[serde(rename = "default-route", skip_serializing_if = "Option::is_none")]
    default_route: Option<Vec<String>>,
    #[serde(rename = "IsFilterV4Gateway")]
    filter_v4: bool,
    #[serde(rename = "IsFilterV6Gateway")]
    filter_v6: bool,
    #[serde(rename = "deviceID", skip_serializing_if = "String::is_empty")]
    device_id: String,
    #[serde(rename = "resourceName", skip_serializing_if = "String::is_empty")]
    resource_name: String,
    #[serde(rename = "Bytes")]
    bytes: String,
    /// Ours: the replaced system passes over it, and over the next.
    #[serde(rename = "polynicOrigin", skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(rename = "polynicGivenUp", skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<Route>,
}

/// The well-known keys of a configuration; the whole is in `Bytes`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LossyConf {
    #[serde(skip_serializing_if = "String::is_empty")]
    cni_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    capabilities: BTreeMap<String, bool>,
    ipam: LossyIpam,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: Dns,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct LossyIpam {
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LossyList {
    #[serde(skip_serializing_if = "String::is_empty")]
    cni_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "is_off")]
    disable_check: bool,
    #[serde(rename = "disableGC", skip_serializing_if = "is_off")]
    disable_gc: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plugins: Vec<LossyConf>,
}

fn is_off(switch: &bool) -> bool {
    !*switch
}

impl Scratch {
    /// The file of a container. Its id has been checked to be a plain file name.
    pub fn new(cni_dir: &Path, container_id: &str) -> Scratch {
        Scratch { path: cni_dir.join(container_id) }
    }

    /// Writes the file; readers see the old one or the new one, whole.
    pub fn write(&self, delegates: &[DelegateConf]) -> Result<(), ScratchError> {
        let records: Vec<Record> = delegates.iter().map(Record::from).collect();
        self.replace(json::print_compact(&records).as_bytes())
    }

    /// Reads the delegates. `None` if there is no file, or an empty list.
    pub fn read(&self) -> Result<Option<Vec<DelegateConf>>, ScratchError> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        self.parse(&bytes).map(|delegates| Some(delegates).filter(|delegates| !delegates.is_empty()))
    }

    /// Reads the delegates of what [`Scratch::bytes`] gave.
    pub fn parse(&self, bytes: &[u8]) -> Result<Vec<DelegateConf>, ScratchError> {
        let records: Vec<Record> =
            json::from_slice(bytes).map_err(|why| ScratchError::Json(self.path.clone(), why))?;
        records.into_iter().map(|record| self.delegate(record)).collect()
    }

    /// The file as it is, to be put back by [`Scratch::restore`].
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, ScratchError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(ScratchError::Read(self.path.clone(), why)),
        }
    }

    /// Puts back what [`Scratch::bytes`] gave.
    pub fn restore(&self, before: Option<&[u8]>) -> Result<(), ScratchError> {
        before.map_or_else(|| self.remove(), |bytes| self.replace(bytes))
    }

    /// Removes the file; none is fine.
    pub fn remove(&self) -> Result<(), ScratchError> {
        match fs::remove_file(&self.path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(ScratchError::Write(self.path.clone(), why))
            }
            _ => Ok(()),
        }
    }

    /// The container ids of all readable files in the directory, in order. Whatever else lies there is not ours.
    pub fn containers(cni_dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(cni_dir).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut ids: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.retain(|id| polynic_cni::names::container_id(id).is_ok());
        ids.retain(|id| matches!(Scratch::new(cni_dir, id).read(), Ok(Some(_))));
        ids.sort();
        ids
    }

    fn delegate(&self, record: Record) -> Result<DelegateConf, ScratchError> {
        let bytes =
            STANDARD.decode(&record.bytes).map_err(|why| ScratchError::Base64(self.path.clone(), why))?;
        let delegate =
            DelegateConf::from_bytes(&bytes).map_err(|why| ScratchError::Delegate(self.path.clone(), why))?;
        Ok(record.into_delegate(delegate))
    }

    /// No container id starts with a dot, so the temporary file is nobody's. No fsync: what it tells about is gone after a crash.
    fn replace(&self, bytes: &[u8]) -> Result<(), ScratchError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = directory.join(format!(".scratch-{}-{number}", process::id()));
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&temporary)?.write_all(bytes)?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(|why| {
            let _ = fs::remove_file(&temporary);
            ScratchError::Write(self.path.clone(), why)
        })
    }
}

impl From<&DelegateConf> for Record {
    fn from(delegate: &DelegateConf) -> Record {
        let request = &delegate.request;
        let hops = |hops: &Vec<IpAddr>| hops.iter().map(IpAddr::to_string).collect();
        Record {
            conf: LossyConf::of(delegate),
            conf_list: LossyList::of(delegate),
            name: delegate.display_name.clone(),
            interface: request.interface.clone(),
            mac: request.mac.clone(),
            infiniband_guid: request.infiniband_guid.clone(),
            ips: request.ips.clone(),
            default_route: request.default_route.as_ref().map(hops),
            filter_v4: delegate.filter.v4,
            filter_v6: delegate.filter.v6,
            device_id: request.device_id.clone(),
            resource_name: delegate.resource_name.clone(),
            bytes: STANDARD.encode(&delegate.list.bytes),
            origin: delegate.origin,
            given_up: delegate.given_up.clone(),
        }
    }
}

impl Record {
    fn into_delegate(self, delegate: DelegateConf) -> DelegateConf {
        let hops = |hops: Vec<String>| hops.iter().filter_map(|hop| hop.parse().ok()).collect();
        DelegateConf {
            display_name: self.name,
            has_allocated_device: !self.resource_name.is_empty() && !self.device_id.is_empty(),
            resource_name: self.resource_name,
            filter: Filter { v4: self.filter_v4, v6: self.filter_v6 },
            origin: self.origin,
            given_up: self.given_up,
            request: Request {
                interface: self.interface,
                mac: self.mac,
                ips: self.ips,
                infiniband_guid: self.infiniband_guid,
                device_id: self.device_id,
                default_route: self.default_route.map(hops),
                ..Request::default()
            },
            ..delegate
        }
    }
}

impl LossyConf {
    /// For a list only what names it, as the replaced system leaves it.
    fn of(delegate: &DelegateConf) -> LossyConf {
        match delegate.list.plugins.first() {
            Some(plugin) if !delegate.is_list => LossyConf::of_plugin(&delegate.list, plugin, true),
            _ => LossyConf {
                cni_version: delegate.list.cni_version.clone(),
                name: delegate.list.name.clone(),
                ..LossyConf::default()
            },
        }
    }

    fn of_plugin(list: &ConfList, plugin: &PluginEntry, is_single: bool) -> LossyConf {
        // What cannot be decoded is left out here; `Bytes` has it.
        let conf = PluginConf::from_map(plugin.raw.clone()).ok();
        let (ipam, dns) = conf.map(|conf| (conf.ipam_type, conf.dns)).unwrap_or_default();
        LossyConf {
            cni_version: if is_single { list.cni_version.clone() } else { String::new() },
            name: plugin.name.clone(),
            r#type: plugin.plugin_type.clone(),
            capabilities: plugin.capabilities.clone(),
            ipam: LossyIpam { r#type: ipam },
            dns,
        }
    }
}

impl LossyList {
    fn of(delegate: &DelegateConf) -> LossyList {
        if !delegate.is_list {
            return LossyList::default();
        }
        let list = &delegate.list;
        LossyList {
            cni_version: list.cni_version.clone(),
            name: list.name.clone(),
            disable_check: list.disable_check,
            disable_gc: list.disable_gc,
            plugins: list.plugins.iter().map(|plugin| LossyConf::of_plugin(list, plugin, false)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
