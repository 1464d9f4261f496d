//! From a path to what it names. Pure.

use crate::status::Status;

/// The path of objects: `/api/v1/namespaces/{ns}/{plural}/{name}/{subresource}` and its shorter forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) plural: String,
    pub(super) name: String,
    pub(super) subresource: String,
    /// The path is one of those that begin with `watch/`, as watches did before they were lists with an option.
    pub(super) is_watched: bool,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Of one check, or of everything if none is named.
    Healthy(String),
    Metrics,
    /// Of the tokens of service accounts.
    PublicKeys,
    Root,
    Version,
    Core,
    Groups,
    Group(String),
    Kinds(String, String),
    Schemas,
    Schema(String, String),
    /// Everything in one document, OpenAPI v2.
    AllSchemas,
    /// Nothing.
    Unknown,
    Resource(ResourcePath),
}

impl Route {
    /// Parses a path, percent-encoding and all.
    pub(super) fn parse(path: &str) -> Result<Self, Status> {
        let segments = path.trim_matches('/').split('/').map(decode).collect::<Option<Vec<String>>>();
        let segments = segments.ok_or_else(|| Status::bad_request("the path is not valid UTF-8"))?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(Self::of(&segments).unwrap_or(Self::Unknown))
    }

    fn of(segments: &[&str]) -> Option<Self> {
        let own = |text: &&str| (*text).to_owned();
        Some(match segments {
            [""] => Self::Root,
            ["healthz" | "readyz" | "livez"] => Self::Healthy(String::new()),
            ["healthz" | "readyz" | "livez", check] => Self::Healthy(own(check)),
            ["metrics"] => Self::Metrics,
            ["openid", "v1", "jwks"] => Self::PublicKeys,
            ["version"] => Self::Version,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["api", version] => Self::Kinds(String::new(), own(version)),
            ["apis", group] => Self::Group(own(group)),
            ["apis", group, version] => Self::Kinds(own(group), own(version)),
            ["openapi", "v2"] => Self::AllSchemas,
            ["openapi", "v3"] => Self::Schemas,
            ["openapi", "v3", "api", version] => Self::Schema(String::new(), own(version)),
            ["openapi", "v3", "apis", group, version] => Self::Schema(own(group), own(version)),
            ["api", version, rest @ ..] => Self::Resource(resource("", version, rest)?),
            ["apis", group, version, rest @ ..] => Self::Resource(resource(group, version, rest)?),
            _ => return None,
        })
    }

    /// Health and version are told to anybody, as in the real server.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Healthy(_) | Self::Version)
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<ResourcePath> {
    match rest {
        ["watch", watched @ ..] => {
            let path = objects(group, version, watched)?;
            path.subresource.is_empty().then_some(ResourcePath { is_watched: true, ..path })
        }
        rest => objects(group, version, rest),
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Option<ResourcePath> {
    let (namespace, plural, name, subresource) = match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] => ("", "namespaces", *name, *sub),
        ["namespaces", namespace, plural, rest @ ..] if rest.len() <= 2 => {
            (*namespace, *plural, rest.first().copied().unwrap_or(""), rest.get(1).copied().unwrap_or(""))
        }
        [plural, rest @ ..] if rest.len() <= 2 => {
            ("", *plural, rest.first().copied().unwrap_or(""), rest.get(1).copied().unwrap_or(""))
        }
        _ => return None,
    };
    Some(ResourcePath {
        group: group.into(),
        version: version.into(),
        namespace: namespace.into(),
        plural: plural.into(),
        name: name.into(),
        subresource: subresource.into(),
        is_watched: false,
    })
}

/// Takes percent-encoding out; `None` for what is no UTF-8 or would smuggle a slash into a key.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex(rest.next()?)? << 4 | hex(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(['/', '\0']))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> [String; 6] {
        let Ok(Route::Resource(p)) = Route::parse(path) else { panic!("{path}") };
        [p.group, p.version, p.namespace, p.plural, p.name, p.subresource]
    }

    #[test]
    fn paths_of_objects_name_their_parts() {
        assert_eq!(resource("/api/v1/pods"), ["", "v1", "", "pods", "", ""]);
        assert_eq!(resource("/api/v1/namespaces/a/pods/p/status"), ["", "v1", "a", "pods", "p", "status"]);
        assert_eq!(resource("/api/v1/namespaces/a"), ["", "v1", "", "namespaces", "a", ""]);
        assert_eq!(resource("/api/v1/namespaces/a/status"), ["", "v1", "", "namespaces", "a", "status"]);
        assert_eq!(resource("/apis/g.io/v1/namespaces/a/things"), ["g.io", "v1", "a", "things", "", ""]);
        assert_eq!(resource("/apis/g.io/v1/things/x%3Ay"), ["g.io", "v1", "", "things", "x:y", ""]);
    }

    #[test]
    fn watches_have_old_paths_too() {
        let Ok(Route::Resource(path)) = Route::parse("/api/v1/watch/namespaces/a/pods/p") else { panic!() };
        assert!(path.is_watched && path.plural == "pods" && path.namespace == "a" && path.name == "p");
        assert_eq!(Route::parse("/api/v1/watch/namespaces/a/pods/p/status").unwrap(), Route::Unknown);
    }

    #[test]
    fn other_paths_are_documents_or_nothing() {
        assert_eq!(Route::parse("/readyz/ping").unwrap(), Route::Healthy("ping".into()));
        assert_eq!(Route::parse("/apis/").unwrap(), Route::Groups);
        assert_eq!(Route::parse("/openapi/v3/api/v1").unwrap(), Route::Schema(String::new(), "v1".into()));
        for path in ["/x", "/api/v1/a/b/c/d"] {
            assert_eq!(Route::parse(path).unwrap(), Route::Unknown, "{path}");
        }
        for path in ["/api/v1/pods/a%2Fb", "/api/v1/pods/%f"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
