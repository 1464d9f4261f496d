//! The NAD of a SpiderMultusConfig (spec/spiderpool.md 10): pure, and the same bytes for the same object.
//!
//! The chain is `ifacer`? main `rdma`? chainCNIJsonData… `coordinator`? `tuning`?, where ? marks what may be absent. Keys stand in the order that the replaced program prints, so
//! that taking over changes no NAD.

mod plugins;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use self::plugins::{Coordinator, Ifacer, Tuning};
use crate::admission::{Denial, multus_config as rules};
use crate::spider::multus_config::{BondConfig, MultusConfigSpec, cni_type};
use crate::spider::{SpiderMultusConfig, annotation};

/// The version of a NAD that asks for none.
pub const DEFAULT_CNI_VERSION: &str = "0.3.1";

/// A NAD as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedNad {
    /// Name; the namespace is that of the SpiderMultusConfig.
    pub name: String,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.config`; none means that the node's configuration directory is asked.
    pub config: Option<String>,
}

/// Makes the NAD. What an object lacks because no webhook saw it is filled in here.
///
/// # Errors
/// The object breaks a rule; webhooks refuse it, so it was written while there was none.
pub fn generate(config: &SpiderMultusConfig) -> Result<GeneratedNad, Denial> {
    let mut config = config.clone();
    rules::mutate(&mut config);
    rules::validate_create(&config, None)?;
    let name = rules::nad_name(&config).to_owned();
    let mut annotations = config.metadata.annotations.clone();
    if let Some(resource) = resource_name(&config.spec) {
        annotations.insert(crate::annotation::RESOURCE_NAME.to_owned(), resource);
    }
    let text = match config.spec.cni_type() {
        cni_type::CUSTOM => config.spec.custom_cni.clone().filter(|text| !text.is_empty()),
        _ => Some(conflist(&config, &name)),
    };
    Ok(GeneratedNad { name, annotations, config: text })
}

/// The device resource that pods of the network consume.
fn resource_name(spec: &MultusConfigSpec) -> Option<String> {
    let given = match spec.cni_type() {
        cni_type::SRIOV => spec.sriov.as_ref()?.resource_name.clone(),
        cni_type::IB_SRIOV => spec.ibsriov.as_ref()?.resource_name.clone(),
        cni_type::OVS => {
            let ovs = spec.ovs.as_ref()?;
            ovs.device_id.as_ref().filter(|id| !id.is_empty())?;
            Some(format!("ovs-cni.network.kubevirt.io/{}", ovs.bridge))
        }
        _ => None,
    };
    given.filter(|name| !name.is_empty())
}

#[derive(Serialize)]
struct Conflist<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'a str,
    name: &'a str,
    plugins: Vec<Box<RawValue>>,
}

fn conflist(config: &SpiderMultusConfig, nad_name: &str) -> String {
    let annotation = |key: &str| config.metadata.annotation(key).filter(|value| !value.is_empty());
    let conflist = Conflist {
        cni_version: annotation(annotation::CNI_VERSION).unwrap_or(DEFAULT_CNI_VERSION),
        name: annotation(annotation::CNICONFIG_NAME).unwrap_or(nad_name),
        plugins: chain(&config.spec).into_iter().flatten().collect(),
    };
    text(&conflist)
}

fn chain(spec: &MultusConfigSpec) -> Vec<Option<Box<RawValue>>> {
    let sriov = spec.sriov.as_ref().filter(|_| spec.cni_type() == cni_type::SRIOV);
    let mut chain = vec![ifacer(spec), plugins::main(spec)];
    if sriov.is_some_and(|sriov| sriov.rdma_isolation == Some(true)) {
        chain.push(RawValue::from_string(r#"{"type":"rdma"}"#.to_owned()).ok());
    }
    chain.extend(
        spec.chain_cni_json_data.iter().flatten().map(|text| RawValue::from_string(compact(text)).ok()),
    );
    if spec.enable_coordinator.unwrap_or(true) {
        chain.push(spec.coordinator.as_ref().and_then(|block| raw(&Coordinator::of(block))));
    }
    let mtu = sriov.and_then(|sriov| sriov.mtu).filter(|mtu| *mtu > 0);
    chain.push(mtu.and_then(|mtu| raw(&Tuning::mtu(mtu))));
    chain
}

/// Makes the master interface where it is not just an interface of the node.
fn ifacer(spec: &MultusConfigSpec) -> Option<Box<RawValue>> {
    let (masters, vlan_id, bond) = match spec.cni_type() {
        cni_type::MACVLAN => {
            spec.macvlan.as_ref().map(|c| (&c.master, c.vlan_id.unwrap_or(0), c.bond.as_ref()))?
        }
        cni_type::IPVLAN => {
            spec.ipvlan.as_ref().map(|c| (&c.master, c.vlan_id.unwrap_or(0), c.bond.as_ref()))?
        }
        // Its VLAN is the pod's interface, not one of the node.
        cni_type::VLAN => spec.vlan.as_ref().map(|c| (&c.master, 0, c.bond.as_ref()))?,
        _ => return None,
    };
    if vlan_id == 0 && masters.len() < 2 {
        return None;
    }
    raw(&Ifacer::new(vlan_id, masters, bond))
}

/// The interface that pods' interfaces are made on.
fn master_name(masters: &[String], bond: Option<&BondConfig>, vlan_id: i64) -> String {
    let base = match (masters, bond) {
        ([_, _, ..], Some(bond)) => &bond.name,
        ([first, ..], _) => first,
        // Validation has refused a list without masters.
        ([], _) => return String::new(),
    };
    if vlan_id == 0 { base.clone() } else { format!("{base}.{vlan_id}") }
}

/// JSON without blanks between its parts, everything else as it is written.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string || !c.is_ascii_whitespace() {
            out.push(c);
        }
        in_string = in_string != (c == '"' && !escaped);
        escaped = in_string && c == '\\' && !escaped;
    }
    out
}

/// Structs of texts, numbers and lists cannot fail to become JSON.
fn raw<T: Serialize>(value: &T) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
