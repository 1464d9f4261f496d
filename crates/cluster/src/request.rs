//! Paths of requests, from names that users wrote.

/// The path of a pod's siblings.
pub(crate) fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// The path of a namespace's Events.
pub(crate) fn events(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/events")
}

/// The path of a namespace's NADs.
pub(crate) fn nads(namespace: &str) -> String {
    let (group, version, plural) =
        (polynic_api::nad::GROUP, polynic_api::nad::VERSION, polynic_api::nad::PLURAL);
    format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}")
}

/// The path of a namespace's ResourceClaims.
pub(crate) fn resource_claims(namespace: &str) -> String {
    format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims")
}

/// The path of all ResourceSlices.
pub(crate) fn resource_slices() -> String {
    "/apis/resource.k8s.io/v1/resourceslices".to_owned()
}

/// Refuses what would lead to another object than the one named: annotations are written by users, and become part of a path.
pub(crate) fn check_names(names: &[&str]) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let is_name = |name: &str| name.len() <= 253 && name.bytes().all(fits) && !name.starts_with('.');
    match names.iter().find(|name| name.is_empty() || !is_name(name)) {
        None => Ok(()),
        Some(&"") => Err("resource name may not be empty".to_owned()),
        Some(name) => Err(format!("invalid resource name {name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_elsewhere() {
        for bad in
            ["../secrets/x", "a/b", "..", ".", "a%2fb", "a?b", "a#b", "A", "a b", "ä", &"x".repeat(254)]
        {
            assert!(check_names(&["ok", bad]).unwrap_err().starts_with("invalid resource name"), "{bad}");
        }
        assert_eq!(check_names(&[""]), Err("resource name may not be empty".to_owned()));
        assert_eq!(check_names(&["macvlan-conf", "a.b.c", "0"]), Ok(()));
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(nads("blue"), "/apis/k8s.cni.cncf.io/v1/namespaces/blue/network-attachment-definitions");
    }
}
