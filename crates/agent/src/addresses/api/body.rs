//! Bodies and queries of requests: every required key has to be there, though it may be empty.

use polynic_runtime::http::StatusCode;
use polynic_wire::messages::PodIdentity;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Problem;

/// Required keys of `POST /ipam/ip`.
pub(super) const ADD: &[&str] =
    &["containerID", "ifName", "netNamespace", "podNamespace", "podName", "podUID"];
/// Required keys of `DELETE /ipam/ip`.
pub(super) const DEL: &[&str] = &["containerID", "ifName", "podNamespace", "podName", "podUID"];
/// Required keys of `DELETE /ipam/ips`.
pub(super) const BATCH: &[&str] = &["containerID", "podNamespace", "podName", "podUID"];
/// Required keys of `GET /coordinator/config`.
pub(super) const POD: &[&str] = &["podNamespace", "podName"];

/// The code of the replaced agent's API library for what is missing.
const REQUIRED: u32 = 602;

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], required: &[&str]) -> Result<T, Problem> {
    let malformed = |why: serde_json::Error| {
        Problem::request(StatusCode::BAD_REQUEST, 400, format!("parsing the body failed: {why}"))
    };
    if body.is_empty() {
        return Err(missing("body is required".to_owned()));
    }
    let value: Value = serde_json::from_slice(body).map_err(malformed)?;
    let absent = |key: &&&str| value.get(**key).is_none_or(Value::is_null);
    if let Some(key) = required.iter().find(absent) {
        return Err(missing(format!("{key} in body is required")));
    }
    serde_json::from_value(value).map_err(malformed)
}

fn missing(message: String) -> Problem {
    Problem::request(StatusCode::UNPROCESSABLE_ENTITY, REQUIRED, message)
}

/// Reads the pod of a query.
pub(super) fn query(query: &str) -> Result<PodIdentity, Problem> {
    let value = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(name, _)| *name == key).map(|(_, value)| decoded(value)).next_back();
        let value = value.filter(|value| !value.is_empty());
        value.ok_or_else(|| missing(format!("{key} in query is required")))
    };
    Ok(PodIdentity { pod_namespace: value("podNamespace")?, pod_name: value("podName")? })
}

/// `%xx` and `+` of a query. Names of pods need neither, but clients may use them.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let (byte, used) = match (first, code) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) => (b' ', 1),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_wire::messages::{AddRequest, Refusal};

    fn refusal<T>(read: Result<T, Problem>) -> (u16, Refusal) {
        match read {
            Err(Problem::Request(status, refusal)) => (status.as_u16(), refusal),
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn a_missing_key_is_named_under_422_and_an_empty_one_will_do() {
        let whole = serde_json::to_value(AddRequest::default()).unwrap();
        assert!(read::<AddRequest>(whole.to_string().as_bytes(), ADD).is_ok());
        for key in ADD {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(*key);
            let (status, refusal) = refusal(read::<AddRequest>(part.to_string().as_bytes(), ADD));
            assert_eq!((status, refusal.message), (422, format!("{key} in body is required")));
        }
        assert_eq!(refusal(read::<AddRequest>(b"", ADD)).0, 422);
        assert_eq!(refusal(read::<AddRequest>(b"{", ADD)).0, 400);
        assert_eq!(refusal(read::<AddRequest>(b"[]", ADD)).0, 422);
    }

    #[test]
    fn a_query_names_a_pod() {
        let pod = query("podNamespace=team%2da&podName=web-0").ok().unwrap();
        assert_eq!((pod.pod_namespace.as_str(), pod.pod_name.as_str()), ("team-a", "web-0"));
        let (status, refusal) = refusal(query("podNamespace=a&podName="));
        assert_eq!((status, refusal.message.as_str()), (422, "podName in query is required"));
        assert_eq!(decoded("a%zz%"), "a%zz%");
    }
}
