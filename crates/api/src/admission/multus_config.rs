//! SpiderMultusConfig (spec/spiderpool.md 3.5).

mod checks;
mod defaults;
mod inject;

pub use defaults::{complete, mutate};

use super::coordination;
use super::{Denial, FieldError};
use crate::meta::ObjectMeta;
use crate::spider::multus_config::MultusConfig;
use crate::spider::{SpiderKind, SpiderMultusConfig, annotation};

/// CNI versions that a NAD may be written in.
pub const CNI_VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// The NAD's name: that of [`annotation::CR_NAME`], or else the object's own.
pub fn nad_name(config: &SpiderMultusConfig) -> &str {
    let named = config.metadata.annotation(annotation::CR_NAME).filter(|name| !name.is_empty());
    named.unwrap_or(&config.metadata.name)
}

/// The rules for a new object; `nad` is the metadata of the NAD of the name that the object is going to own, if there is one.
///
/// # Errors
/// The rules that it breaks.
pub fn validate_create(config: &SpiderMultusConfig, nad: Option<&ObjectMeta>) -> Result<(), Denial> {
    let mut errors = Vec::new();
    errors.extend(check_names(config));
    errors.extend(check_nad(config, nad));
    errors.extend(check_spec(config));
    Denial::unless_empty(errors)
}

/// The rules for a changed object.
///
/// # Errors
/// The rules that the change breaks.
pub fn validate_update(
    old: &SpiderMultusConfig,
    new: &SpiderMultusConfig,
    nad: Option<&ObjectMeta>,
) -> Result<(), Denial> {
    if new.metadata.is_terminating() {
        return Ok(());
    }
    let name =
        |config: &SpiderMultusConfig| config.metadata.annotation(annotation::CR_NAME).map(str::to_owned);
    if name(old) != name(new) {
        let why = "the NAD's name can neither be given later nor be changed or taken away";
        return Err(FieldError::forbidden(annotation_field(annotation::CR_NAME), why).into());
    }
    validate_create(new, nad)
}

fn annotation_field(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

fn check_names(config: &SpiderMultusConfig) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = config.metadata.annotation(annotation::CR_NAME);
    if let Some(name) = name.filter(|name| !is_subdomain(name)) {
        let why = "must be a DNS-1123 subdomain: lower case letters, digits, '-' and '.'";
        errors.push(FieldError::invalid(annotation_field(annotation::CR_NAME), name, why));
    }
    let version = config.metadata.annotation(annotation::CNI_VERSION);
    if let Some(version) = version.filter(|version| !CNI_VERSIONS.contains(version)) {
        let why = format!("must be one of {}", CNI_VERSIONS.join(", "));
        errors.push(FieldError::invalid(annotation_field(annotation::CNI_VERSION), version, why));
    }
    errors
}

/// RFC 1123: at most 253 characters, labels of letters, digits and `-` that neither begin nor end with `-`.
fn is_subdomain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Nobody else's NAD is taken. One without an owner is adopted.
fn check_nad(config: &SpiderMultusConfig, nad: Option<&ObjectMeta>) -> Option<FieldError> {
    let is_other = |owner: &&crate::meta::OwnerReference| {
        owner.kind == MultusConfig::KIND && owner.name != config.metadata.name
    };
    let owner = nad?.owner_references.iter().find(is_other)?;
    let why = format!(
        "network-attachment-definition {} belongs to SpiderMultusConfig {}",
        nad_name(config),
        owner.name
    );
    let field = match config.metadata.annotation(annotation::CR_NAME) {
        Some(_) => annotation_field(annotation::CR_NAME),
        None => "metadata.name".to_owned(),
    };
    Some(FieldError::forbidden(field, why))
}

fn check_spec(config: &SpiderMultusConfig) -> Vec<FieldError> {
    let spec = &config.spec;
    let mut errors = checks::check_type(spec);
    errors.extend(inject::check(config));
    errors.extend(spec.coordinator.iter().flat_map(|block| coordination::check(block, "spec.coordinator")));
    for (at, text) in spec.chain_cni_json_data.iter().flatten().enumerate() {
        if let Some(why) = checks::plugin_problem(text) {
            errors.push(FieldError::invalid(format!("spec.chainCNIJsonData[{at}]"), text, why));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
