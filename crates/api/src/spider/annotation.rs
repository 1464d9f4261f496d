//! Annotations of pods, namespaces and SpiderMultusConfigs (spec/spiderpool.md 6): keys, and what their values mean.
//!
//! Keys of JSON objects are matched without regard to case, as the replaced program does, and spellings of old releases are read.

use std::collections::BTreeMap;

use polynic_cni::json::{self, JsonError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::spider::Route;

/// On a pod: [`PoolSelection`] for the interface at hand.
pub const IPPOOL: &str = "ipam.spidernet.io/ippool";
/// On a pod: a list of [`PoolSelection`], one for each interface.
pub const IPPOOLS: &str = "ipam.spidernet.io/ippools";
/// On a pod template: [`SubnetSelection`].
pub const SUBNET: &str = "ipam.spidernet.io/subnet";
/// On a pod template: a list of [`SubnetSelection`].
pub const SUBNETS: &str = "ipam.spidernet.io/subnets";
/// On a pod template and on its automatic pools: `5` or `+2`.
pub const IPPOOL_IP_NUMBER: &str = "ipam.spidernet.io/ippool-ip-number";
/// On a pod template: whether automatic pools go with the application.
pub const IPPOOL_RECLAIM: &str = "ipam.spidernet.io/ippool-reclaim";
/// On a pod: a list of [`Route`].
pub const ROUTES: &str = "ipam.spidernet.io/routes";
/// On a pod: the interface of the default route.
pub const DEFAULT_ROUTE_NIC: &str = "ipam.spidernet.io/default-route-nic";
/// On a namespace: a list of pools.
pub const DEFAULT_IPV4_IPPOOL: &str = "ipam.spidernet.io/default-ipv4-ippool";
/// On a namespace: a list of pools.
pub const DEFAULT_IPV6_IPPOOL: &str = "ipam.spidernet.io/default-ipv6-ippool";
/// The key of [`DEFAULT_IPV4_IPPOOL`] up to release 0.2.
pub const OLD_DEFAULT_IPV4_IPPOOL: &str = "ipam.spidernet.io/defaultv4ippool";
/// The key of [`DEFAULT_IPV6_IPPOOL`] up to release 0.2.
pub const OLD_DEFAULT_IPV6_IPPOOL: &str = "ipam.spidernet.io/defaultv6ippool";
/// On a SpiderMultusConfig: the NAD's name.
pub const CR_NAME: &str = "multus.spidernet.io/cr-name";
/// On a SpiderMultusConfig: the CNI version of the NAD.
pub const CNI_VERSION: &str = "multus.spidernet.io/cni-version";
/// On a SpiderMultusConfig: the name inside of the NAD's configuration.
pub const CNICONFIG_NAME: &str = "cni.spidernet.io/cniconfig-name";
/// On a SpiderMultusConfig, a pod or a namespace: group of RDMA networks to inject.
pub const RDMA_RESOURCE_INJECT: &str = "cni.spidernet.io/rdma-resource-inject";
/// On a SpiderMultusConfig, a pod or a namespace: group of networks to inject.
pub const NETWORK_RESOURCE_INJECT: &str = "cni.spidernet.io/network-resource-inject";

/// Annotations as objects carry them.
pub type Annotations = BTreeMap<String, String>;

/// An annotation whose value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid format of Pod annotation {key}: {reason}")]
pub struct AnnotationError {
    /// Which.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Pools for one interface. Names may have wildcards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PoolSelection {
    /// The interface; empty means: by position.
    pub interface: String,
    /// IPv4 pools, in order.
    #[serde(alias = "ipv4pools")]
    pub ipv4: Vec<String>,
    /// IPv6 pools, in order.
    #[serde(alias = "ipv6pools")]
    pub ipv6: Vec<String>,
    /// Whether the interface gets no default route.
    #[serde(rename = "cleangateway")]
    pub clean_gateway: bool,
}

/// SpiderSubnets for one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SubnetSelection {
    /// The interface; `eth0` if the single form names none.
    pub interface: String,
    /// IPv4 subnets; the first counts.
    pub ipv4: Vec<String>,
    /// IPv6 subnets; the first counts.
    pub ipv6: Vec<String>,
}

/// Pools of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultPools {
    /// IPv4 pools, in order.
    pub ipv4: Vec<String>,
    /// IPv6 pools, in order.
    pub ipv6: Vec<String>,
}

/// The interface that `subnet` means if it names none.
pub const DEFAULT_INTERFACE: &str = "eth0";

/// [`IPPOOL`] of a pod.
///
/// # Errors
/// The value is no JSON object of that shape.
pub fn ippool(annotations: &Annotations) -> Result<Option<PoolSelection>, AnnotationError> {
    read(annotations, IPPOOL)
}

/// [`IPPOOLS`] of a pod: not empty, and either all items name an interface of their own or none does.
///
/// # Errors
/// The value is no JSON list of that shape, or breaks these rules.
pub fn ippools(annotations: &Annotations) -> Result<Option<Vec<PoolSelection>>, AnnotationError> {
    let Some(items) = read::<Vec<PoolSelection>>(annotations, IPPOOLS)? else { return Ok(None) };
    let wrong = |reason: &str| Err(AnnotationError { key: IPPOOLS, reason: reason.to_owned() });
    if items.is_empty() {
        return wrong("the list is empty");
    }
    let named = items.iter().filter(|item| !item.interface.is_empty()).count();
    if named != 0 && named != items.len() {
        return wrong("some items name an interface and some do not");
    }
    match repeated(items.iter().map(|item| item.interface.as_str()).filter(|name| !name.is_empty())) {
        Some(name) => wrong(&format!("interface {name} is listed twice")),
        None => Ok(Some(items)),
    }
}

/// [`SUBNETS`] or else [`SUBNET`] of a pod template, as a list.
///
/// # Errors
/// A value has another shape, an item names no subnet at all or an empty one, or an interface or a subnet is named twice.
pub fn subnets(annotations: &Annotations) -> Result<Option<Vec<SubnetSelection>>, AnnotationError> {
    if let Some(items) = read::<Vec<SubnetSelection>>(annotations, SUBNETS)? {
        check_subnets(SUBNETS, &items)?;
        return Ok(Some(items));
    }
    let Some(mut item) = read::<SubnetSelection>(annotations, SUBNET)? else { return Ok(None) };
    if item.interface.is_empty() {
        item.interface = DEFAULT_INTERFACE.to_owned();
    }
    let items = vec![item];
    check_subnets(SUBNET, &items)?;
    Ok(Some(items))
}

fn check_subnets(key: &'static str, items: &[SubnetSelection]) -> Result<(), AnnotationError> {
    let wrong = |reason: String| Err(AnnotationError { key, reason });
    if items.is_empty() {
        return wrong("the list is empty".to_owned());
    }
    if items.iter().any(|item| item.interface.is_empty()) {
        return wrong("an item names no interface".to_owned());
    }
    if let Some(item) = items.iter().find(|item| item.ipv4.is_empty() && item.ipv6.is_empty()) {
        return wrong(format!("no subnet is given for interface {}", item.interface));
    }
    let firsts = || items.iter().flat_map(|item| [item.ipv4.first(), item.ipv6.first()]).flatten();
    if firsts().any(String::is_empty) {
        return wrong("a subnet has an empty name".to_owned());
    }
    if let Some(name) = repeated(items.iter().map(|item| item.interface.as_str())) {
        return wrong(format!("interface {name} is listed twice"));
    }
    match repeated(firsts().map(String::as_str)) {
        Some(name) => wrong(format!("subnet {name} is listed twice")),
        None => Ok(()),
    }
}

/// [`ROUTES`] of a pod; whether they are routes is for the allocation to say.
///
/// # Errors
/// The value is no JSON list of that shape.
pub fn routes(annotations: &Annotations) -> Result<Vec<Route>, AnnotationError> {
    read(annotations, ROUTES).map(Option::unwrap_or_default)
}

/// Pools of a namespace, under today's keys or else those of release 0.2; `None` if it has neither.
///
/// # Errors
/// A value is no JSON list of names.
pub fn namespace_pools(annotations: &Annotations) -> Result<Option<DefaultPools>, AnnotationError> {
    let either = |key, old| match read::<Vec<String>>(annotations, key)? {
        Some(pools) => Ok(Some(pools)),
        None => read(annotations, old),
    };
    let ipv4 = either(DEFAULT_IPV4_IPPOOL, OLD_DEFAULT_IPV4_IPPOOL)?;
    let ipv6 = either(DEFAULT_IPV6_IPPOOL, OLD_DEFAULT_IPV6_IPPOOL)?;
    if ipv4.is_none() && ipv6.is_none() {
        return Ok(None);
    }
    Ok(Some(DefaultPools { ipv4: ipv4.unwrap_or_default(), ipv6: ipv6.unwrap_or_default() }))
}

/// How many addresses an automatic pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpNumber {
    /// So many, whatever the application's size.
    Fixed(u32),
    /// So many beyond the application's replicas.
    Flexible(u32),
}

impl std::fmt::Display for IpNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IpNumber::Fixed(n) => write!(f, "{n}"),
            IpNumber::Flexible(n) => write!(f, "+{n}"),
        }
    }
}

/// [`IPPOOL_IP_NUMBER`] of a pod template.
///
/// # Errors
/// The value is no number, negative, or has more than one `+`.
pub fn ip_number(annotations: &Annotations) -> Result<Option<IpNumber>, AnnotationError> {
    let Some(text) = annotations.get(IPPOOL_IP_NUMBER) else { return Ok(None) };
    let (digits, flexible) = match text.strip_prefix('+') {
        Some(digits) => (digits, true),
        None => (text.as_str(), false),
    };
    let number =
        Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
    let Some(number) = number else {
        let reason = format!("{text:?} is neither a number such as 5 nor one such as +2");
        return Err(AnnotationError { key: IPPOOL_IP_NUMBER, reason });
    };
    Ok(Some(if flexible { IpNumber::Flexible(number) } else { IpNumber::Fixed(number) }))
}

/// [`IPPOOL_RECLAIM`] of a pod template; true if absent.
///
/// # Errors
/// The value is no boolean.
pub fn reclaim(annotations: &Annotations) -> Result<bool, AnnotationError> {
    match annotations.get(IPPOOL_RECLAIM).map(String::as_str) {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => {
            Err(AnnotationError { key: IPPOOL_RECLAIM, reason: format!("{other:?} is not a boolean") })
        }
    }
}

fn read<T: DeserializeOwned>(
    annotations: &Annotations,
    key: &'static str,
) -> Result<Option<T>, AnnotationError> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    let wrong = |error: JsonError| AnnotationError { key, reason: error.to_string() };
    json::from_slice(text.as_bytes()).map(Some).map_err(wrong)
}

fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = std::collections::BTreeSet::new();
    let mut names = names;
    names.find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests;
