//! Which network plugin a node has, by its first CNI configuration.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::decide::PodCidrType;

/// The `name` of the [`first_conf`].
///
/// # Errors
/// The directory or the file cannot be read.
pub fn first_name(directory: &Path) -> Result<Option<String>, String> {
    let conf = first_conf(directory)?;
    Ok(conf.map(|conf| conf["name"].as_str().unwrap_or_default().to_owned()))
}

/// The first configuration of a directory; ours (`00-multus`) is skipped. `None`: there is none.
///
/// # Errors
/// The directory or the file cannot be read.
pub fn first_conf(directory: &Path) -> Result<Option<Value>, String> {
    let unreadable = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unreadable(&why)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|why| unreadable(&why))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let is_conf = |name: &&String| {
        (name.ends_with(".conf") || name.ends_with(".conflist")) && !name.contains("00-multus")
    };
    let Some(name) = names.iter().find(is_conf) else { return Ok(None) };
    let text = fs::read_to_string(directory.join(name)).map_err(|why| unreadable(&why))?;
    let wrong = |why| format!("{name} is no CNI configuration: {why}");
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

/// What `auto` means for the network of this name.
pub fn pod_cidr_type_of(name: Option<&str>) -> PodCidrType {
    match name {
        Some("calico" | "k8s-pod-network") => PodCidrType::Calico,
        Some("cilium") => PodCidrType::Cilium,
        Some("flannel") => PodCidrType::Cluster,
        _ => PodCidrType::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_configuration_that_is_not_ours_counts() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(first_name(directory.path()), Ok(None));
        assert_eq!(first_name(&directory.path().join("none")), Ok(None));
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("00-multus.conf", r#"{"name":"multus-cni-network"}"#);
        write("05-x.json", r#"{"name":"cilium"}"#);
        write("20-flannel.conflist", r#"{"name":"flannel"}"#);
        write("10-calico.conflist", r#"{"name":"k8s-pod-network"}"#);
        let name = first_name(directory.path()).unwrap();
        assert_eq!(pod_cidr_type_of(name.as_deref()), PodCidrType::Calico);
        write("01-broken.conf", "{");
        assert!(
            first_name(directory.path()).unwrap_err().starts_with("01-broken.conf is no CNI configuration")
        );
    }

    #[test]
    fn unknown_networks_and_none_have_no_pod_cidrs() {
        for (name, wanted) in [
            (Some("calico"), PodCidrType::Calico),
            (Some("cilium"), PodCidrType::Cilium),
            (Some("flannel"), PodCidrType::Cluster),
            (Some("kindnet"), PodCidrType::None),
            (None, PodCidrType::None),
        ] {
            assert_eq!(pod_cidr_type_of(name), wanted);
        }
    }
}
