//! The object that belongs to the type is there, alone and right.

use serde_json::Value;

use crate::admission::FieldError;
use crate::spider::multus_config::{
    BondConfig, IppoolNames, MultusConfigSpec, OvsConfig, SriovConfig, VlanConfig, cni_type,
};

/// The rules of the type.
pub(super) fn check_type(spec: &MultusConfigSpec) -> Vec<FieldError> {
    let objects = [
        (cni_type::MACVLAN, "spec.macvlan", spec.macvlan.is_some()),
        (cni_type::IPVLAN, "spec.ipvlan", spec.ipvlan.is_some()),
        (cni_type::VLAN, "spec.vlan", spec.vlan.is_some()),
        (cni_type::SRIOV, "spec.sriov", spec.sriov.is_some()),
        (cni_type::OVS, "spec.ovs", spec.ovs.is_some()),
        (cni_type::IB_SRIOV, "spec.ibsriov", spec.ibsriov.is_some()),
        (cni_type::IPOIB, "spec.ipoib", spec.ipoib.is_some()),
        (cni_type::CUSTOM, "spec.customCNI", spec.custom_cni.is_some()),
    ];
    let cni_type = spec.cni_type();
    let Some((_, own, is_there)) = objects.iter().find(|(name, ..)| *name == cni_type) else {
        let names: Vec<&str> = objects.iter().map(|(name, ..)| *name).collect();
        return vec![FieldError::invalid(
            "spec.cniType",
            cni_type,
            format!("must be one of {}", names.join(", ")),
        )];
    };
    let mut errors = Vec::new();
    if !is_there {
        errors.push(FieldError::required(*own, format!("cniType {cni_type} needs it")));
    }
    let others = objects.iter().filter(|(name, _, is_there)| *name != cni_type && *is_there);
    errors.extend(others.map(|(_, field, _)| {
        FieldError::forbidden(*field, format!("cniType is {cni_type}: only {own} may be set"))
    }));
    errors.extend(check_objects(spec));
    errors
}

fn check_objects(spec: &MultusConfigSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (at, config) in [("spec.macvlan", &spec.macvlan), ("spec.ipvlan", &spec.ipvlan)] {
        if let Some(config) = config {
            errors.extend(check_masters(at, &config.master, config.bond.as_ref()));
            errors.extend(check_id(format!("{at}.vlanID"), config.vlan_id));
            errors.extend(check_natural(format!("{at}.mtu"), config.mtu));
            errors.extend(check_pools(at, config.ippools.as_ref()));
        }
    }
    errors.extend(spec.vlan.iter().flat_map(check_vlan));
    errors.extend(spec.sriov.iter().flat_map(check_sriov));
    errors.extend(spec.ovs.iter().flat_map(check_ovs));
    let resource = spec.ibsriov.as_ref().map(|config| config.resource_name.as_deref());
    errors.extend(resource.and_then(|name| check_text("spec.ibsriov.resourceName", name)));
    let master = spec.ipoib.as_ref().map(|config| config.master.as_deref());
    errors.extend(master.and_then(|name| check_text("spec.ipoib.master", name)));
    let custom = spec.custom_cni.as_deref().filter(|text| !text.is_empty());
    if let Some(why) = custom.and_then(|text| serde_json::from_str::<Value>(text).err()) {
        errors.push(FieldError::invalid("spec.customCNI", custom, format!("is no JSON: {why}")));
    }
    errors
}

fn check_masters(at: &str, masters: &[String], bond: Option<&BondConfig>) -> Vec<FieldError> {
    let field = format!("{at}.master");
    if masters.is_empty() || masters.iter().any(String::is_empty) {
        return vec![FieldError::required(field, "at least one interface must be named")];
    }
    let mut errors = Vec::new();
    if masters.len() > 1 && bond.is_none_or(|bond| bond.name.is_empty()) {
        errors
            .push(FieldError::required(format!("{at}.bond.name"), "several masters need a bond with a name"));
    }
    if let Some(bond) = bond.filter(|bond| !(0..=6).contains(&bond.mode)) {
        errors.push(FieldError::invalid(format!("{at}.bond.mode"), bond.mode, "must be 0 to 6"));
    }
    errors
}

fn check_vlan(config: &VlanConfig) -> Vec<FieldError> {
    const AT: &str = "spec.vlan";
    let mut errors = check_masters(AT, &config.master, config.bond.as_ref());
    errors.extend(check_natural(format!("{AT}.mtu"), config.mtu));
    errors.extend(check_pools(AT, config.ippools.as_ref()));
    let id = format!("{AT}.vlanID");
    match (config.vlan_mode.as_deref().unwrap_or("manual"), config.vlan_id) {
        ("manual", None) => errors.push(FieldError::required(id, "vlanMode manual needs it")),
        ("auto", Some(_)) => {
            errors.push(FieldError::forbidden(id, "vlanMode auto gets the id from elsewhere"))
        }
        ("manual" | "auto", given) => errors.extend(check_id(id, given)),
        (other, _) => {
            errors.push(FieldError::invalid(format!("{AT}.vlanMode"), other, "must be manual or auto"))
        }
    }
    errors
}

fn check_sriov(config: &SriovConfig) -> Vec<FieldError> {
    const AT: &str = "spec.sriov";
    let mut errors = Vec::new();
    errors.extend(check_text("spec.sriov.resourceName", config.resource_name.as_deref()));
    errors.extend(check_id(format!("{AT}.vlanID"), config.vlan_id));
    errors.extend(check_natural(format!("{AT}.mtu"), config.mtu));
    errors.extend(check_natural(format!("{AT}.minTxRateMbps"), config.min_tx_rate_mbps));
    errors.extend(check_natural(format!("{AT}.maxTxRateMbps"), config.max_tx_rate_mbps));
    if let (Some(min), Some(max)) = (config.min_tx_rate_mbps, config.max_tx_rate_mbps)
        && min > max
    {
        errors.push(FieldError::invalid(
            format!("{AT}.minTxRateMbps"),
            min,
            format!("is more than maxTxRateMbps {max}"),
        ));
    }
    errors
}

fn check_ovs(config: &OvsConfig) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(check_text("spec.ovs.bridge", Some(&config.bridge)));
    errors.extend(check_id("spec.ovs.vlan".to_owned(), config.vlan));
    for (at, trunk) in config.trunk.iter().enumerate() {
        let field = |name: &str| format!("spec.ovs.trunk[{at}].{name}");
        for (name, id) in [("minID", trunk.min_id), ("maxID", trunk.max_id), ("id", trunk.id)] {
            errors.extend(check_id(field(name), id));
        }
        if let (Some(min), Some(max)) = (trunk.min_id, trunk.max_id)
            && min > max
        {
            errors.push(FieldError::invalid(field("minID"), min, format!("is more than maxID {max}")));
        }
    }
    errors
}

fn check_id(field: String, id: Option<i64>) -> Option<FieldError> {
    let id = id.filter(|id| !(0..=4094).contains(id))?;
    Some(FieldError::invalid(field, id, "must be 0 to 4094"))
}

fn check_natural(field: String, number: Option<i64>) -> Option<FieldError> {
    let number = number.filter(|number| *number < 0)?;
    Some(FieldError::invalid(field, number, "must not be negative"))
}

fn check_text(field: &str, text: Option<&str>) -> Option<FieldError> {
    text.is_none_or(str::is_empty).then(|| FieldError::required(field, "must be given"))
}

fn check_pools(at: &str, pools: Option<&IppoolNames>) -> Option<FieldError> {
    let is_set = pools.is_some_and(|pools| pools.match_master_subnet == Some(true));
    let field = || format!("{at}.ippools.matchMasterSubnet");
    is_set.then(|| FieldError::forbidden(field(), "is for sriov only"))
}

/// Why a text is no configuration of a plugin.
pub(super) fn plugin_problem(text: &str) -> Option<String> {
    match serde_json::from_str::<Value>(text) {
        Err(why) => Some(format!("is no JSON: {why}")),
        Ok(Value::Object(map)) => match map.get("type").and_then(Value::as_str) {
            None | Some("") => Some("has no type".to_owned()),
            Some(_) => None,
        },
        Ok(_) => Some("is no JSON object".to_owned()),
    }
}
