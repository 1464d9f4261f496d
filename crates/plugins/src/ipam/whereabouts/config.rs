//! The `ipam` object and the flat file beneath it (spec/whereabouts.md 2).

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use polynic_cni::{Dns, Error, Ip, JsonMap, Route, args, json};
use polynic_wire::whereabouts::{WhereaboutsRange, WhereaboutsSlice};
use serde::Deserialize;
use serde_json::Value;

use crate::log::{Flat, Options};
use crate::{Call, ipam};

/// What the plugin is told.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) kubeconfig: PathBuf,
    pub(super) network_name: String,
    pub(super) ranges: Vec<WhereaboutsRange>,
    pub(super) overlapping: bool,
    pub(super) slice: Option<WhereaboutsSlice>,
    pub(super) gateway: Option<IpAddr>,
    /// Addresses that are in the result without being reserved.
    pub(super) fixed: Vec<Ip>,
    pub(super) routes: Vec<Route>,
    pub(super) dns: Dns,
}

/// The log file that is asked for. A configuration that cannot be read asks for none.
pub(super) fn log(call: &Call<'_>, directories: &[&str]) -> Option<Options> {
    let merged = merged(call, call.conf.ipam()?, directories).ok()?;
    json::from_map::<Flat>(&merged).ok()?.options()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(flatten)]
    first: WrittenRange,
    #[serde(rename = "ipRanges")]
    more: Vec<WrittenRange>,
    gateway: String,
    addresses: Vec<WrittenAddress>,
    dns: Dns,
    network_name: String,
    node_slice_size: String,
    kubernetes: Kubernetes,
    configuration_path: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenRange {
    range: String,
    range_start: String,
    range_end: String,
    exclude: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenAddress {
    address: String,
    gateway: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kubernetes {
    kubeconfig: PathBuf,
}

const FLAT_FILE: &str = "whereabouts.d/whereabouts.conf";

impl Config {
    /// Reads the network's own keys over those of the flat file.
    pub(super) fn read(call: &Call<'_>, directories: &[&str]) -> Result<Self, Error> {
        let own = call.conf.ipam().ok_or_else(|| call.error("IPAM config missing 'ipam' key"))?;
        let load = |e: json::JsonError| Error::internal(format!("failed to load netconf: {e}"));
        let merged = merged(call, own, directories)?;
        let overlapping = merged.get("enable_overlapping_ranges").and_then(Value::as_bool).unwrap_or(true);
        let written: Written = json::from_map(&merged).map_err(load)?;
        if written.kubernetes.kubeconfig.as_os_str().is_empty() {
            return Err(
                call.error("you have not configured the storage engine: kubernetes.kubeconfig is missing")
            );
        }
        Ok(Self {
            kubeconfig: written.kubernetes.kubeconfig.clone(),
            gateway: address(call, &written.gateway)?,
            slice: slice(call, &written),
            fixed: fixed(call, &written.addresses)?,
            ranges: ranges(call, written.first, written.more)?,
            network_name: written.network_name,
            overlapping,
            routes: ipam::routes(&merged)?,
            dns: written.dns,
        })
    }
}

/// The network's own keys over those of the flat file.
fn merged(call: &Call<'_>, own: &JsonMap, directories: &[&str]) -> Result<JsonMap, Error> {
    let path = own.get("configuration_path").and_then(Value::as_str).unwrap_or_default();
    let mut merged = flat_file(call, path, directories)?;
    // Only the network's own word counts.
    merged.remove("enable_overlapping_ranges");
    for (key, value) in own.iter().filter(|(_, value)| !is_empty(value)) {
        merged.retain(|known, _| !known.eq_ignore_ascii_case(key));
        merged.insert(key.clone(), value.clone());
    }
    Ok(merged)
}

/// The pod, as `namespace/name`.
pub(super) fn podref(call: &Call<'_>) -> Option<String> {
    let arg = |key: &str| {
        let mut pairs = call.invocation.args.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, value)| *known == key && !value.is_empty()).map(|(_, value)| value)
    };
    let name = arg("K8S_POD_NAME")?;
    Some(format!("{}/{name}", arg("K8S_POD_NAMESPACE").unwrap_or_default()))
}

/// What fills nothing in: the flat file's value stays.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The first that exists: the one that the network names, then the usual places. A network that says everything itself needs none.
fn flat_file(call: &Call<'_>, named: &str, directories: &[&str]) -> Result<JsonMap, Error> {
    let usual = directories.iter().map(|directory| Path::new(directory).join(FLAT_FILE));
    let named = (!named.is_empty()).then(|| PathBuf::from(named));
    for path in named.into_iter().chain(usual) {
        let Ok(text) = fs::read(&path) else { continue };
        let invalid = |e: json::JsonError| call.error(format!("cannot read {}: {e}", path.display()));
        return json::parse_object(&text).map_err(invalid);
    }
    Ok(JsonMap::new())
}

fn ranges(
    call: &Call<'_>,
    first: WrittenRange,
    more: Vec<WrittenRange>,
) -> Result<Vec<WhereaboutsRange>, Error> {
    let first = (!first.range.is_empty()).then_some(first);
    let ranges = first.into_iter().chain(more).map(|written| {
        if written.range.is_empty() {
            return Err(call.error("an entry of ipRanges has no range"));
        }
        Ok(WhereaboutsRange {
            range: written.range,
            start: written.range_start,
            end: written.range_end,
            exclude: written.exclude,
        })
    });
    ranges.collect()
}

fn slice(call: &Call<'_>, written: &Written) -> Option<WhereaboutsSlice> {
    if written.node_slice_size.is_empty() {
        return None;
    }
    let pool = if written.network_name.is_empty() { call.network() } else { &written.network_name };
    // In the flat file's directory, and the node's own name where there is no such file.
    let directory = Path::new(&written.configuration_path);
    let directory = if directory.is_file() { directory.parent().unwrap_or(directory) } else { directory };
    let named =
        fs::read_to_string(directory.join("nodename")).or_else(|_| fs::read_to_string("/etc/hostname"));
    Some(WhereaboutsSlice { pool: pool.to_owned(), node: named.unwrap_or_default().trim().to_owned() })
}

/// `addresses`, and those of `CNI_ARGS`.
fn fixed(call: &Call<'_>, written: &[WrittenAddress]) -> Result<Vec<Ip>, Error> {
    let cidr = |text: &str| {
        let parsed = polynic_cni::result::parse_net(text);
        parsed
            .map_err(|_| call.error(format!("the address is expected to be in CIDR notation, got: {text:?}")))
    };
    let mut ips = Vec::new();
    for entry in written {
        ips.push(Ip { gateway: address(call, &entry.gateway)?, ..Ip::new(cidr(&entry.address)?) });
    }
    let args = args::parse(&call.invocation.args, &["IP", "GATEWAY"])?;
    let listed =
        |key: &str| args.get(key).unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty());
    for text in listed("IP") {
        ips.push(Ip::new(cidr(text)?));
    }
    for text in listed("GATEWAY") {
        let gateway = address(call, text)?;
        let inside = |ip: &&mut Ip| gateway.is_some_and(|gateway| ip.address.contains(&gateway));
        ips.iter_mut().filter(inside).for_each(|ip| ip.gateway = gateway);
    }
    Ok(ips)
}

fn address(call: &Call<'_>, text: &str) -> Result<Option<IpAddr>, Error> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| call.error(format!("couldn't parse gateway IP: {text}"))),
    }
}
