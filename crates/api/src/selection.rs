//! Which networks a pod selects: the values of `k8s.v1.cni.cncf.io/networks` and `v1.multus-cni.io/default-network`
//! (spec/multus.md 4).
//!
//! Both come in two formats, told apart by their characters: a comma list, or a JSON list of objects.

use std::net::IpAddr;

use polynic_cni::JsonMap;
use serde::{Deserialize, Serialize};

mod comma;
mod json;

/// One wanted attachment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelectionElement {
    /// The NAD's name. May be empty or wrong in ways that only looking it up shows.
    pub name: String,
    /// The NAD's namespace; the caller's default where the annotation names none.
    pub namespace: String,
    /// The interface name in the pod, or empty for the next `net<n>`.
    pub interface: String,
    /// Addresses, with or without prefix length, as written.
    pub ips: Vec<String>,
    /// Hardware address as written, or empty.
    pub mac: String,
    /// InfiniBand GUID as written, or empty.
    pub infiniband_guid: String,
    /// Ports of the host that lead to the pod.
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the traffic.
    pub bandwidth: Option<Bandwidth>,
    /// A device to use, or empty.
    pub device_id: String,
    /// To be merged into `args.cni` of the network's configuration.
    pub cni_args: Option<JsonMap>,
    /// Next hops that the pod's default routes are to have. `Some` of nothing asks for no default route at all.
    pub default_route: Option<Vec<IpAddr>>,
    /// Name of an IPAMClaim; read by IPAM plugins, not by us.
    pub ipam_claim_reference: String,
}

/// A port of the host that leads to the pod, as the `portMappings` capability has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortMapping {
    /// Port on the host.
    pub host_port: i64,
    /// Port in the pod.
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`; empty leaves it to the plugin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Address on the host, or empty for all.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// Limits of the traffic in bits per second (rates) and bits (bursts), as the `bandwidth` capability has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Bandwidth {
    /// Towards the pod.
    pub ingress_rate: i64,
    /// Towards the pod.
    pub ingress_burst: i64,
    /// From the pod.
    pub egress_rate: i64,
    /// From the pod.
    pub egress_burst: i64,
}

/// Why an annotation could not be read. Nothing of it is used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// More than one separator in an item of the comma list.
    #[error("Invalid network object (failed at '{separator}'): {item:?}")]
    Separator {
        /// The one that is there too often.
        separator: char,
        /// The item.
        item: String,
    },
    /// A part of an item of the comma list has a wrong form.
    #[error(
        "the {part} {value:?} did not match comma-delimited format [<namespace>/]<network name>[@<ifname>]: mismatch @ '{item}'"
    )]
    Mismatch {
        /// Which part.
        part: &'static str,
        /// What it is.
        value: String,
        /// The item.
        item: String,
    },
    /// The JSON form is no list of objects with fields of the right types.
    #[error("invalid network selection JSON")]
    Json(#[source] polynic_cni::json::JsonError),
    /// A field of an element of the JSON list has a wrong value.
    #[error("invalid {field} {value:?} in network selection element {index} ({name}): {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it is.
        value: String,
        /// The element's place, from 0.
        index: usize,
        /// The element's NAD.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The default-network annotation has several elements.
    #[error("more than one default network is specified")]
    SeveralDefaults,
    /// The default-network annotation is there, but names no network.
    #[error("the default network annotation names no network")]
    NoDefault,
}

/// Reads the networks annotation. Elements without a namespace get `namespace`, that of the pod. An empty value is an empty list.
pub fn parse_networks(value: &str, namespace: &str) -> Result<Vec<SelectionElement>, SelectionError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let mut elements =
        if value.contains(['[', '{', '"']) { json::parse(value)? } else { comma::parse(value)? };
    for element in elements.iter_mut().filter(|element| element.namespace.is_empty()) {
        element.namespace = namespace.to_owned();
    }
    Ok(elements)
}

/// Reads the default-network annotation: exactly one element, whose namespace defaults to `namespace`.
pub fn parse_default_network(value: &str, namespace: &str) -> Result<SelectionElement, SelectionError> {
    let mut elements = parse_networks(value, namespace)?;
    match elements.len() {
        0 => Err(SelectionError::NoDefault),
        1 => Ok(elements.remove(0)),
        _ => Err(SelectionError::SeveralDefaults),
    }
}

#[cfg(test)]
mod tests;
