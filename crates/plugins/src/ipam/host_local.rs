//! `host-local`: addresses of this node's ranges, kept as files (spec/plugins.md 2.1).
//!
//! The store is shared with the replaced plugin: same directory, same names, same contents, same lock. `config` reads the
//! ranges, `allocate` chooses, `store` keeps, `index` makes the cost independent of how many addresses are held.

mod allocate;
mod config;
mod disk;
mod index;
mod resolv;
mod store;

use std::path::Path;

use polynic_cni::{Error, Invocation, Ip, Output, PluginConf, Success, Verb};

use crate::ipam::Ipam;
use crate::{Call, Context, Plugin};
use config::Config;
use disk::{Disk, RealDisk};
use store::{Owner, Store};

/// The plugin.
pub struct HostLocal;

impl Ipam for HostLocal {}

impl Plugin for HostLocal {
    fn plugin_type(&self) -> &'static str {
        "host-local"
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        serve(&RealDisk, context, verb, &Call::new("host-local", invocation, conf)?)
    }
}

fn serve(disk: &dyn Disk, context: &Context<'_>, verb: Verb, call: &Call<'_>) -> Result<Output, Error> {
    let open = |data_dir: &Path| {
        Store::open(disk, data_dir, call.network(), context.state).map_err(|e| call.error(e))
    };
    if matches!(verb, Verb::Del | Verb::Gc) {
        let data_dir = config::data_dir(call).map_err(|e| call.explain(e))?;
        // A network that never gave an address has nothing to give back, even where no directory can be made.
        if is_missing(&data_dir.join(call.network())) {
            return Ok(Output::Empty);
        }
        let mut store = open(&data_dir)?;
        return if verb == Verb::Del { release(call, &mut store) } else { gc(call, &mut store) };
    }
    let config = Config::read(call).map_err(|e| call.explain(e))?;
    match verb {
        Verb::Add => add(call, &config, &mut open(&config.data_dir)?).map(Output::Success),
        Verb::Check => check(call, &open(&config.data_dir)?),
        Verb::Status => status(&config, &open(&config.data_dir)?),
        Verb::Del | Verb::Gc | Verb::Version => Ok(Output::Empty),
    }
}

fn is_missing(directory: &Path) -> bool {
    directory.metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn owner<'a>(call: &'a Call<'_>) -> Owner<'a> {
    Owner { container_id: call.container_id().trim(), ifname: call.ifname.as_str() }
}

fn add(call: &Call<'_>, config: &Config, store: &mut Store<'_>) -> Result<Success, Error> {
    let owner = owner(call);
    let allocated = allocate::allocate(store, config, owner).map_err(|e| call.error(e))?;
    let ips =
        allocated.into_iter().map(|a| Ip { interface: None, address: a.address, gateway: Some(a.gateway) });
    let dns = match &config.resolv_conf {
        Some(path) => resolv::read(path).map_err(|e| {
            // A failing ADD gives back what it took; the failure to report is this one.
            let _ = store.release(owner);
            call.error(format!("cannot read {}: {e}", path.display()))
        })?,
        None => polynic_cni::Dns::default(),
    };
    Ok(Success { ips: ips.collect(), routes: config.routes.clone(), dns, ..Success::default() })
}

fn release(call: &Call<'_>, store: &mut Store<'_>) -> Result<Output, Error> {
    store.release(owner(call)).map_err(|e| call.error(e))?;
    Ok(Output::Empty)
}

fn check(call: &Call<'_>, store: &Store<'_>) -> Result<Output, Error> {
    if store.holds(owner(call)).map_err(|e| call.error(e))? {
        return Ok(Output::Empty);
    }
    let text = format!("host-local: Failed to find address added by container {}", call.container_id());
    Err(call.error(text))
}

fn gc(call: &Call<'_>, store: &mut Store<'_>) -> Result<Output, Error> {
    let Some(valid) = call.conf.valid_attachments()? else { return Ok(Output::Empty) };
    let keep = |id: &str, ifname: Option<&str>| {
        // A file of old releases names no interface: any attachment of its container keeps it.
        valid.iter().any(|a| a.container_id == id && ifname.is_none_or(|i| a.ifname == i))
    };
    store.retain(keep).map_err(|e| call.error(e))?;
    Ok(Output::Empty)
}

fn status(config: &Config, store: &Store<'_>) -> Result<Output, Error> {
    for set in &config.sets {
        let free = allocate::has_free(store, set).map_err(|e| Error::not_available(e.to_string()))?;
        if !free {
            return Err(Error::not_available(allocate::exhausted(set)));
        }
    }
    Ok(Output::Empty)
}

#[cfg(test)]
mod tests;
