//! Which form of an answer a client accepts. Always JSON; the question is whether as object, metadata or table.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use crate::api::Form;
use crate::table::Include;

/// Media ranges of the Accept headers in their order, each with its parameters.
fn ranges(headers: &HeaderMap) -> Vec<(String, Vec<(String, String)>)> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(range).collect()
}

fn range(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameters = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim().into(), v.trim().into()));
    (media_type, parameters.collect())
}

fn is_json(media_type: &str) -> bool {
    ["application/json", "application/*", "*/*", ""].contains(&media_type)
}

/// The form of an answer about objects; `None` if nothing that the client accepts can be made.
pub(super) fn form(headers: &HeaderMap, include: &str) -> Option<Form> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Some(Form::Object);
    }
    ranges
        .iter()
        .filter(|(media_type, _)| is_json(media_type))
        .find_map(|(_, parameters)| form_of(parameters, include))
}

fn form_of(parameters: &[(String, String)], include: &str) -> Option<Form> {
    let get = |key: &str| parameters.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let include = match include {
        "Object" => Include::Object,
        "None" => Include::None,
        _ => Include::Metadata,
    };
    match (get("as"), get("g"), get("v")) {
        (None, _, _) => Some(Form::Object),
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Form::Table(include)),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
            Some(Form::Metadata)
        }
        _ => None,
    }
}

/// True if the client prefers all of discovery in one answer.
pub(super) fn wants_aggregated_discovery(headers: &HeaderMap) -> bool {
    let is_ours = |(media_type, parameters): &(String, Vec<(String, String)>)| {
        let has = |key: &str, value: &str| parameters.iter().any(|(k, v)| k == key && v == value);
        media_type == "application/json"
            && has("as", "APIGroupDiscoveryList")
            && has("g", "apidiscovery.k8s.io")
            && has("v", "v2")
    };
    ranges(headers).iter().any(is_ours)
}

/// True if the client asks for OpenAPI v2 in protobuf, which older and newer clients name differently.
pub(super) fn wants_protobuf_schemas(headers: &HeaderMap) -> bool {
    ranges(headers).first().is_some_and(|(media_type, _)| {
        media_type.starts_with("application/com.github.proto-openapi.spec.v2")
            && media_type.ends_with("protobuf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, hyper::header::HeaderValue::from_static(value))])
    }

    #[test]
    fn kubectl_gets_its_table_and_others_their_object() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(&accept(table), "Object"), Some(Form::Table(Include::Object)));
        assert_eq!(
            form(&accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"), ""),
            Some(Form::Object)
        );
        assert_eq!(form(&accept("application/vnd.kubernetes.protobuf, */*"), ""), Some(Form::Object));
        assert_eq!(
            form(&accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"), ""),
            Some(Form::Metadata)
        );
        assert_eq!(form(&HeaderMap::new(), ""), Some(Form::Object));
    }

    #[test]
    fn what_cannot_be_made_is_not_acceptable() {
        assert_eq!(form(&accept("application/vnd.kubernetes.protobuf"), ""), None);
    }

    #[test]
    fn aggregated_discovery_is_recognised() {
        let value = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert!(wants_aggregated_discovery(&accept(value)));
        assert!(!wants_aggregated_discovery(&accept("application/json")));
    }
}
