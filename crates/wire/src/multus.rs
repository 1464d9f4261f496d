//! The protocol between a CNI shim and the node agent (spec/multus.md 13.6): HTTP on a unix socket, in the replaced program's format, so
//! that either side may be exchanged before the other.
//!
//! [`CniRequest`] and [`CniAnswer`] are the bodies, [`Endpoint`] is the agent as a trait, [`MultusSocket`] reaches it over its socket.
//! [`deletions`] is what waits on disk when a deletion could not be completed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::http::{self, Request};
use crate::service::ServiceError;

pub mod deletions;

/// Directory of the socket unless a configuration says otherwise.
pub const SOCKET_DIR: &str = "/run/multus/";

/// Name of the socket in its directory.
pub const SOCKET_NAME: &str = "multus.sock";

/// A CNI call.
pub const CNI: &str = "/cni";
/// One network of a running pod.
pub const DELEGATE: &str = "/delegate";
/// Is anybody there?
pub const HEALTHZ: &str = "/healthz";
/// Is it ready for new pods?
pub const READYZ: &str = "/readyz";

/// Stands in the refusal of a DEL that the agent has written down and does later. A refusal without it leaves the deletion to the shim:
/// agents of old releases and the replaced daemon forget what they refuse.
pub const WRITTEN_DOWN: &str = "the deletion is written down and will be tried again";

/// A CNI call as the shim got it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniRequest {
    /// The shim's environment.
    #[serde(default, deserialize_with = "or_default")]
    pub env: BTreeMap<String, String>,
    /// Its standard input.
    #[serde(default, deserialize_with = "from_base64", serialize_with = "to_base64")]
    pub config: Vec<u8>,
    /// What a pod asks of one network; for [`DELEGATE`] only.
    #[serde(
        default,
        rename = "interfaceAttributes",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "or_default"
    )]
    pub attributes: Option<InterfaceAttributes>,
}

/// What a pod asks of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAttributes {
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub ips: Vec<String>,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub mac: String,
    /// What is merged into the configuration's `args.cni`.
    #[serde(
        default,
        rename = "cni-args",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "or_default"
    )]
    pub cni_args: Option<Map<String, Value>>,
}

/// The answer to an ADD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniAnswer {
    /// The result, in the newest version of CNI.
    #[serde(rename = "Result")]
    pub result: Value,
}

/// What came back of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Whether this refuses a DEL that the agent does later.
    pub fn is_written_down(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains(WRITTEN_DOWN)
    }
}

/// The agent, as a shim sees it.
pub trait Endpoint {
    /// Sends a request and waits for the whole answer, whatever its status. An empty body is one that does not matter.
    ///
    /// # Errors
    /// There was no answer before the deadline.
    fn post(&self, path: &'static str, body: &[u8], deadline: Instant) -> Result<Reply, ServiceError>;
}

/// The agent behind its socket.
#[derive(Clone, Debug)]
pub struct MultusSocket {
    socket: PathBuf,
}

impl MultusSocket {
    /// The agent whose socket lies in this directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { socket: directory.join(SOCKET_NAME) }
    }
}

impl Endpoint for MultusSocket {
    fn post(&self, path: &'static str, body: &[u8], deadline: Instant) -> Result<Reply, ServiceError> {
        let answer =
            http::exchange(&self.socket, &Request { method: "POST", path, body: Some(body) }, deadline)?;
        Ok(Reply { status: answer.status, body: answer.body })
    }
}

/// As Go's decoder reads it: null is the zero value.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn to_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    STANDARD.encode(bytes).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_has_the_replaced_programs_form() {
        let env = [("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "eth0")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let request = CniRequest { env, config: b"{}".to_vec(), attributes: None };
        let wanted = json!({"env": {"CNI_COMMAND": "ADD", "CNI_IFNAME": "eth0"}, "config": "e30="});
        assert_eq!(serde_json::to_value(&request).unwrap(), wanted);
        assert_eq!(serde_json::from_value::<CniRequest>(wanted).unwrap(), request);
    }

    #[test]
    fn attributes_are_read_as_hot_plug_controllers_send_them() {
        let sent = json!({"env": null, "config": null,
            "interfaceAttributes": {"ips": ["10.0.0.1/24"], "mac": "02:00:00:00:00:01", "cni-args": {"a": 1}}});
        let request: CniRequest = serde_json::from_value(sent).unwrap();
        assert_eq!((request.env.len(), request.config.len()), (0, 0));
        let attributes = request.attributes.unwrap();
        assert_eq!((attributes.ips.len(), attributes.mac.as_str()), (1, "02:00:00:00:00:01"));
        assert_eq!(attributes.cni_args.unwrap()["a"], json!(1));
        let nulls = json!({"interfaceAttributes": {"ips": null, "mac": null, "cni-args": null}});
        let request: CniRequest = serde_json::from_value(nulls).unwrap();
        assert_eq!(request.attributes, Some(InterfaceAttributes::default()));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        assert!(serde_json::from_value::<CniRequest>(json!({"config": "???"})).is_err());
    }
}
