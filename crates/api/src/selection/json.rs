//! The JSON list (spec/multus.md 4.3).

use std::net::IpAddr;

use polynic_cni::JsonMap;
use polynic_cni::json;
use polynic_cni::result::{parse_ip, parse_net};
use serde::Deserialize;

use super::{Bandwidth, PortMapping, SelectionElement, SelectionError};
use crate::hardware;

/// An element as written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    name: String,
    namespace: String,
    interface: String,
    #[serde(rename = "interfaceRequest")]
    interface_request: String,
    ips: Vec<String>,
    mac: String,
    #[serde(rename = "infiniband-guid")]
    infiniband_guid: String,
    #[serde(rename = "portMappings")]
    port_mappings: Vec<PortMapping>,
    bandwidth: Option<Bandwidth>,
    #[serde(rename = "deviceID")]
    device_id: String,
    #[serde(rename = "cni-args")]
    cni_args: Option<JsonMap>,
    #[serde(rename = "default-route")]
    default_route: Option<Vec<String>>,
    #[serde(rename = "ipam-claim-reference")]
    ipam_claim_reference: String,
}

pub(super) fn parse(value: &str) -> Result<Vec<SelectionElement>, SelectionError> {
    let written: Vec<Written> = json::from_slice(value.as_bytes()).map_err(SelectionError::Json)?;
    written.into_iter().enumerate().map(|(index, written)| element(index, written)).collect()
}

fn element(index: usize, written: Written) -> Result<SelectionElement, SelectionError> {
    let check = Check { index, name: &written.name };
    check
        .all("ips", &written.ips, |ip| parse_ip(ip).is_ok_and(|ip| ip.is_some()) || parse_net(ip).is_ok())?;
    check.one("mac", &written.mac, hardware::is_address)?;
    check.one("infiniband-guid", &written.infiniband_guid, hardware::is_address)?;
    let default_route = written.default_route.map(|hops| check.next_hops(&hops)).transpose()?;
    let interface = if written.interface.is_empty() { written.interface_request } else { written.interface };
    Ok(SelectionElement {
        name: written.name,
        namespace: written.namespace,
        interface,
        ips: written.ips,
        mac: written.mac,
        infiniband_guid: written.infiniband_guid,
        port_mappings: written.port_mappings,
        bandwidth: written.bandwidth,
        device_id: written.device_id,
        cni_args: written.cni_args,
        default_route,
        ipam_claim_reference: written.ipam_claim_reference,
    })
}

/// Where an element is, for messages.
struct Check<'a> {
    index: usize,
    name: &'a str,
}

impl Check<'_> {
    fn one(&self, field: &'static str, value: &str, fits: fn(&str) -> bool) -> Result<(), SelectionError> {
        if value.is_empty() || fits(value) { Ok(()) } else { Err(self.wrong(field, value)) }
    }

    fn all(
        &self,
        field: &'static str,
        values: &[String],
        fits: fn(&str) -> bool,
    ) -> Result<(), SelectionError> {
        values.iter().find(|value| !fits(value)).map_or(Ok(()), |value| Err(self.wrong(field, value)))
    }

    fn next_hops(&self, written: &[String]) -> Result<Vec<IpAddr>, SelectionError> {
        let parse = |text: &String| parse_ip(text).ok().flatten();
        written.iter().map(|text| parse(text).ok_or_else(|| self.wrong("default-route", text))).collect()
    }

    fn wrong(&self, field: &'static str, value: &str) -> SelectionError {
        let problem = match field {
            "ips" => "not an IP address, with or without prefix length",
            "default-route" => "not an IP address",
            _ => "not a hardware address of 6, 8 or 20 bytes",
        };
        let (index, name) = (self.index, self.name.to_owned());
        SelectionError::Field { field, value: value.to_owned(), index, name, problem }
    }
}
