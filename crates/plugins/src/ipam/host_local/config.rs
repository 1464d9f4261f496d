//! What `host-local` is told: ranges, routes, requests.

use std::net::IpAddr;
use std::path::PathBuf;

use polynic_cni::{Error, GoMap, Route, Version, args};
use polynic_net::{Family, IpNet, IpRange, ip_from_u128, ip_to_u128};
use serde::Deserialize;

use crate::{Call, ipam};

const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// The configuration, validated.
pub(super) struct Config {
    pub(super) data_dir: PathBuf,
    pub(super) resolv_conf: Option<PathBuf>,
    pub(super) routes: Vec<Route>,
    /// One address comes from each set.
    pub(super) sets: Vec<RangeSet>,
    /// Addresses that must be among the allocated.
    pub(super) requested: Vec<IpAddr>,
}

/// Ranges of one family that stand for each other.
pub(super) struct RangeSet {
    pub(super) ranges: Vec<Range>,
}

/// A range with the network it is part of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) subnet: IpNet,
    pub(super) span: IpRange,
    pub(super) gateway: IpAddr,
}

impl RangeSet {
    pub(super) fn family(&self) -> Option<Family> {
        self.ranges.first().map(|r| r.span.family())
    }

    pub(super) fn range_of(&self, ip: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|r| r.span.contains(ip))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.ranges.iter().any(|a| other.ranges.iter().any(|b| a.span.overlaps(&b.span)))
    }
}

impl std::fmt::Display for RangeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.ranges.iter().map(|r| r.span.to_string()).collect();
        f.write_str(&texts.join(","))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    subnet: String,
    range_start: String,
    range_end: String,
    gateway: String,
    ranges: Vec<Vec<Written>>,
    data_dir: String,
    resolv_conf: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    subnet: String,
    range_start: String,
    range_end: String,
    gateway: String,
}

fn load(e: polynic_cni::json::JsonError) -> Error {
    Error::internal(format!("failed to load netconf: {e}"))
}

fn invalid(text: impl std::fmt::Display) -> Error {
    Error::internal(text.to_string())
}

/// Where the addresses of a network are kept: all that it takes to give one back. A runtime may have lost the ranges by then, as some lose what
/// they were given for ADD.
pub(super) fn data_dir(call: &Call<'_>) -> Result<PathBuf, Error> {
    let object = call.conf.ipam().ok_or_else(|| invalid("IPAM config missing 'ipam' key"))?;
    let ipam: Ipam = polynic_cni::json::from_map(object).map_err(load)?;
    Ok(ipam.data_dir())
}

impl Ipam {
    fn data_dir(&self) -> PathBuf {
        if self.data_dir.is_empty() { DEFAULT_DATA_DIR.into() } else { PathBuf::from(&self.data_dir) }
    }
}

impl Config {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let object = call.conf.ipam().ok_or_else(|| invalid("IPAM config missing 'ipam' key"))?;
        let ipam: Ipam = polynic_cni::json::from_map(object).map_err(load)?;
        Ok(Self {
            data_dir: ipam.data_dir(),
            resolv_conf: (!ipam.resolv_conf.is_empty()).then(|| PathBuf::from(&ipam.resolv_conf)),
            routes: ipam::routes(object)?,
            requested: requested(call)?,
            sets: sets(call, ipam)?,
        })
    }
}

/// All sets: the runtime's `ipRanges` first, then the single range, then `ranges`.
fn sets(call: &Call<'_>, ipam: Ipam) -> Result<Vec<RangeSet>, Error> {
    let mut written: Vec<Vec<Written>> =
        call.runtime_config().read("ipRanges").map_err(load)?.unwrap_or_default();
    if !ipam.subnet.is_empty() {
        let Ipam { subnet, range_start, range_end, gateway, .. } = ipam;
        written.push(vec![Written { subnet, range_start, range_end, gateway }]);
    }
    written.extend(ipam.ranges);
    let sets = written
        .iter()
        .enumerate()
        .map(|(i, set)| range_set(set).map_err(|e| invalid(format!("invalid range set {i}: {e}"))));
    let sets = sets.collect::<Result<Vec<_>, Error>>()?;
    if sets.is_empty() {
        return Err(invalid("no IP ranges specified"));
    }
    refuse_overlaps(&sets)?;
    refuse_two_of_a_family(call, &sets)?;
    Ok(sets)
}

fn refuse_overlaps(sets: &[RangeSet]) -> Result<(), Error> {
    for (i, set) in sets.iter().enumerate() {
        if let Some(j) = sets[..i].iter().position(|earlier| earlier.overlaps(set)) {
            return Err(invalid(format!("range set {j} overlaps with {i}")));
        }
    }
    Ok(())
}

fn refuse_two_of_a_family(call: &Call<'_>, sets: &[RangeSet]) -> Result<(), Error> {
    let version = call.conf.cni_version;
    let count = |family| sets.iter().filter(|s| s.family() == Some(family)).count();
    if version < Version::V0_3_0 && (count(Family::V4) > 1 || count(Family::V6) > 1) {
        return Err(invalid(format!(
            "CNI version {version} does not support more than 1 address per family"
        )));
    }
    Ok(())
}

fn range_set(written: &[Written]) -> Result<RangeSet, String> {
    if written.is_empty() {
        return Err("empty range set".to_owned());
    }
    let ranges = written.iter().map(range).collect::<Result<Vec<_>, _>>()?;
    for (i, range) in ranges.iter().enumerate() {
        if range.span.family() != ranges[0].span.family() {
            return Err("mixed address families".to_owned());
        }
        if let Some(other) = ranges[..i].iter().find(|other| other.span.overlaps(&range.span)) {
            return Err(format!("subnets {} and {} overlap", range.span, other.span));
        }
    }
    Ok(RangeSet { ranges })
}

fn range(written: &Written) -> Result<Range, String> {
    let subnet = polynic_cni::result::parse_net(&written.subnet)
        .map_err(|_| format!("invalid CIDR address: {}", written.subnet))?;
    let family = Family::of(subnet.addr());
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return Err(format!("Network {subnet} too small to allocate from"));
    }
    if subnet.trunc() != subnet {
        return Err(format!(
            "Network has host bits set. For a subnet mask of length {} the network address is {}",
            subnet.prefix_len(),
            subnet.network()
        ));
    }
    let nth = |n: u128| ip_from_u128(family, ip_to_u128(subnet.network()) + n);
    let last = match subnet.broadcast() {
        IpAddr::V4(ip) => ip_from_u128(family, ip_to_u128(ip.into()) - 1),
        last => last,
    };
    let first = bound(&written.range_start, nth(1), &subnet, "RangeStart")?;
    let last = bound(&written.range_end, last, &subnet, "RangeEnd")?;
    let gateway = address(&written.gateway)?.unwrap_or(nth(1));
    let span = IpRange::new(first, last).map_err(|e| e.to_string())?;
    Ok(Range { subnet, span, gateway })
}

fn bound(text: &str, default: IpAddr, subnet: &IpNet, name: &str) -> Result<IpAddr, String> {
    let ip = address(text)?.unwrap_or(default);
    if subnet.contains(&ip) { Ok(ip) } else { Err(format!("{name} {ip} not in network {subnet}")) }
}

/// The empty text is no address.
fn address(text: &str) -> Result<Option<IpAddr>, String> {
    polynic_cni::result::parse_ip(text).map_err(|_| format!("invalid IP address: {text}"))
}

/// Requests of all sources together: `CNI_ARGS` IP, `args.cni.ips`, `runtimeConfig.ips`.
fn requested(call: &Call<'_>) -> Result<Vec<IpAddr>, Error> {
    let mut texts: Vec<String> = Vec::new();
    let args = args::parse(&call.invocation.args, &["IP"])?;
    // Several, separated by commas, come from runtimes that serve more than this plugin.
    texts.extend(args.get("IP").unwrap_or_default().split(',').filter(|t| !t.is_empty()).map(str::to_owned));
    if let Some(object) = call.conf.args_cni() {
        texts.extend(GoMap(object).strings("ips").map_err(load)?);
    }
    texts.extend(call.runtime_config().strings("ips").map_err(load)?);
    let mut ips = Vec::new();
    for text in texts {
        let bare = text.split('/').next().unwrap_or_default();
        let ip =
            address(bare).ok().flatten().ok_or_else(|| invalid(format!("invalid IP address: {text}")))?;
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    Ok(ips)
}

/// For tests: a configuration from JSON.
#[cfg(test)]
pub(super) fn parse_for_test(conf: &serde_json::Value) -> Result<Config, Error> {
    let conf = polynic_cni::PluginConf::parse(conf.to_string().as_bytes())?;
    let invocation = polynic_cni::Invocation::default();
    Config::read(&Call::new("host-local", &invocation, &conf)?)
}
