//! Running the plugins of a network, as a runtime does (spec/cni.md 5.3 to 5.6).

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use crate::args;
use crate::cache::{Cache, Entry, Key};
use crate::conflist::{ConfList, PluginEntry};
use crate::delegate::{Delegate, Output};
use crate::error::Error;
use crate::invocation::Invocation;
use crate::json::JsonMap;
use crate::names;
use crate::quote::go_quote;
use crate::result::Success;
use crate::verb::Verb;
use crate::version::{Numeric, Version};

mod gc;
mod request;
mod validate;

/// Everything that calling plugins needs beside the attachment.
#[derive(Clone)]
pub struct Runtime<'a> {
    /// Where results are cached: [`crate::cache::DEFAULT_DIRECTORY`] unless configured.
    pub cache_dir: PathBuf,
    /// Who calls the plugins.
    pub delegate: &'a dyn Delegate,
    /// `CNI_PATH` for the plugins: directories, separated by `:`.
    pub path: String,
    /// The environment that plugins inherit.
    pub env: Vec<(OsString, OsString)>,
}

/// One attachment, as the runtime names it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeConf {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; may be empty for DEL.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The pairs of `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Capability key to value; plugins get those that they declare.
    pub capability_args: JsonMap,
}

impl<'a> Runtime<'a> {
    /// A runtime whose plugins inherit no environment; see [`Runtime::env`].
    pub fn new(
        cache_dir: impl Into<PathBuf>,
        path: impl Into<String>,
        delegate: &'a dyn Delegate,
    ) -> Runtime<'a> {
        Runtime { cache_dir: cache_dir.into(), delegate, path: path.into(), env: Vec::new() }
    }

    /// ADD of every plugin in order; the final result is cached. On error nothing is cached, and the caller
    /// has to DEL.
    pub fn add_list(&self, list: &ConfList, conf: &RuntimeConf) -> Result<Success, Error> {
        let mut previous = None;
        for plugin in &list.plugins {
            let result = self.add_plugin(list, plugin, conf, previous.as_ref());
            previous = Some(result.map_err(|error| error.within(failed(plugin, "add")))?);
        }
        let result =
            previous.ok_or_else(|| Error::internal(format!("network {:?} has no plugins", list.name)))?;
        let cached = cache_entry(list, conf, &result).and_then(|entry| self.cache().write(&entry));
        cached.map_err(|why| {
            why.within(format!("failed to set network {} cached result", go_quote(&list.name)))
        })?;
        Ok(result)
    }

    /// DEL of every plugin in reverse order; then the cached result is removed. It stays when a plugin
    /// fails, for a retry.
    pub fn del_list(&self, list: &ConfList, conf: &RuntimeConf) -> Result<(), Error> {
        let cached = if at_least(list, Version::V0_4_0)? { self.result_for_del(list, conf) } else { None };
        for plugin in list.plugins.iter().rev() {
            let deleted = self.call(list, plugin, Verb::Del, conf, cached.as_ref());
            deleted.map_err(|error| error.within(failed(plugin, "delete")))?;
        }
        // What is left of the file can only lead to one more DEL, which succeeds.
        let _ = self.cache().remove(key(list, conf));
        Ok(())
    }

    /// CHECK of every plugin in order, with the cached result. Configs before 0.4.0 are an error,
    /// `disableCheck` is success.
    pub fn check_list(&self, list: &ConfList, conf: &RuntimeConf) -> Result<(), Error> {
        if !at_least(list, Version::V0_4_0)? {
            let version = go_quote(&list.cni_version);
            return Err(Error::internal(format!(
                "configuration version {version} does not support the CHECK command"
            )));
        }
        if list.disable_check {
            return Ok(());
        }
        let cached = self.cached_result(list, conf).map_err(|why| {
            why.within(format!("failed to get network {} cached result", go_quote(&list.name)))
        })?;
        list.plugins
            .iter()
            .try_for_each(|plugin| self.call(list, plugin, Verb::Check, conf, cached.as_ref()).map(drop))
    }

    /// STATUS of every plugin in order; the first error as it is, its code included. Configs before 1.1.0
    /// always succeed.
    pub fn status_list(&self, list: &ConfList) -> Result<(), Error> {
        if !at_least(list, Version::V1_1_0)? {
            return Ok(());
        }
        list.plugins.iter().try_for_each(|plugin| {
            let stdin = request::network_request(list, plugin, None);
            self.delegate.call(&plugin.plugin_type, Verb::Status, &self.invocation(stdin)).map(drop)
        })
    }

    /// The final result of an attachment as the list's version has it, if it is cached.
    pub fn cached_result(&self, list: &ConfList, conf: &RuntimeConf) -> Result<Option<Success>, Error> {
        let version = list.version().map_err(|why| Error::internal(why.to_string()))?;
        self.cache().read_result(key(list, conf), version)
    }

    /// The list and the parameters with which an attachment was made, if it is cached.
    pub fn cached_config(
        &self,
        list: &ConfList,
        conf: &RuntimeConf,
    ) -> Result<Option<(Vec<u8>, RuntimeConf)>, Error> {
        let entry = self.cache().read(key(list, conf))?;
        Ok(entry.map(|entry| {
            let conf =
                RuntimeConf { args: entry.args, capability_args: entry.capability_args, ..conf.clone() };
            (entry.config, conf)
        }))
    }

    fn cache(&self) -> Cache<'_> {
        Cache::new(&self.cache_dir)
    }

    fn add_plugin(
        &self,
        list: &ConfList,
        plugin: &PluginEntry,
        conf: &RuntimeConf,
        previous: Option<&Success>,
    ) -> Result<Success, Error> {
        self.delegate.find(&plugin.plugin_type, &self.path)?;
        names::container_id(&conf.container_id)?;
        names::network_name(&list.name)?;
        names::interface_name(&conf.ifname)?;
        self.call(list, plugin, Verb::Add, conf, previous)?.into_success(&plugin.plugin_type)
    }

    fn call(
        &self,
        list: &ConfList,
        plugin: &PluginEntry,
        verb: Verb,
        conf: &RuntimeConf,
        previous: Option<&Success>,
    ) -> Result<Output, Error> {
        let stdin = request::attachment_request(list, plugin, conf, previous)?;
        let invocation = Invocation {
            container_id: conf.container_id.clone(),
            netns: conf.netns.clone(),
            ifname: conf.ifname.clone(),
            args: args::join(&conf.args),
            ..self.invocation(stdin)
        };
        self.delegate.call(&plugin.plugin_type, verb, &invocation)
    }

    fn invocation(&self, stdin: Vec<u8>) -> Invocation {
        let netns_override = self.env.iter().any(|(name, value)| Invocation::is_override(name, value));
        Invocation {
            path: self.path.clone(),
            env: self.env.clone(),
            netns_override,
            stdin,
            ..Invocation::default()
        }
    }

    /// A cached result that cannot be read must not keep anything alive: the file goes, DEL goes on without
    /// it.
    fn result_for_del(&self, list: &ConfList, conf: &RuntimeConf) -> Option<Success> {
        self.cached_result(list, conf).unwrap_or_else(|_| {
            let _ = self.cache().remove(key(list, conf));
            None
        })
    }
}

fn key<'k>(list: &'k ConfList, conf: &'k RuntimeConf) -> Key<'k> {
    Key { network: &list.name, container_id: &conf.container_id, ifname: &conf.ifname }
}

/// `plugin type="T" name="N" failed (add)`; the name only if the plugin object has one.
fn failed(plugin: &PluginEntry, what: &str) -> String {
    let name =
        if plugin.name.is_empty() { String::new() } else { format!(" name={}", go_quote(&plugin.name)) };
    format!("plugin type={}{name} failed ({what})", go_quote(&plugin.plugin_type))
}

fn at_least(list: &ConfList, version: Version) -> Result<bool, Error> {
    let number = Numeric::parse(&list.cni_version).map_err(|why| Error::internal(why.to_string()))?;
    Ok(number >= version.into())
}

fn cache_entry(list: &ConfList, conf: &RuntimeConf, result: &Success) -> Result<Entry, Error> {
    Ok(Entry {
        container_id: conf.container_id.clone(),
        config: list.bytes.clone(),
        ifname: conf.ifname.clone(),
        network: list.name.clone(),
        netns: conf.netns.clone(),
        args: conf.args.clone(),
        capability_args: conf.capability_args.clone(),
        result: result.to_value(result.cni_version)?.as_object().cloned().unwrap_or_default(),
    })
}

/// Text as a JSON value.
fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

#[cfg(test)]
mod tests;
