//! The service behind a unix socket. Each call is a connection of its own: connecting to a local socket costs less than to know whether
//! an old connection still works.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::BASE_PATH;
use crate::http::{self, Answer, Request};
use crate::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, Refusal,
    WorkloadEndpoint,
};
use crate::service::{AddressService, AddressServices, ServiceError};

/// Every agent by its socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets;

impl AddressServices for Sockets {
    fn at(&self, socket: &Path) -> Arc<dyn AddressService> {
        Arc::new(SocketService::new(socket))
    }
}

/// The agent that listens at a path.
#[derive(Clone, Debug)]
pub struct SocketService {
    socket: PathBuf,
}

impl SocketService {
    /// The agent at this path, if one listens there.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    fn call<B: Serialize>(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&B>,
        deadline: Instant,
    ) -> Result<Answer, ServiceError> {
        call(&self.socket, method, path, body, deadline)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ServiceError> {
        self.read_with(answer, &[])
    }

    /// Reads an answer that must have these keys.
    fn read_with<T: DeserializeOwned>(&self, answer: &Answer, required: &[&str]) -> Result<T, ServiceError> {
        let garbled = |why: String| ServiceError::Garbled { socket: self.socket.clone(), why };
        let value: Value = serde_json::from_slice(&answer.body).map_err(|e| garbled(e.to_string()))?;
        let value = without_nulls(value);
        let missing: Vec<String> = required
            .iter()
            .filter(|key| value.get(**key).is_none())
            .map(|key| format!("\n{key} in body is required"))
            .collect();
        if !missing.is_empty() {
            return Err(garbled(format!("validation failure list:{}", missing.concat())));
        }
        serde_json::from_value(value).map_err(|e| garbled(e.to_string()))
    }
}

/// What is null is absent: the replaced agent says so of empty lists.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let there = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(there.map(|(key, member)| (key, without_nulls(member))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        plain => plain,
    }
}

/// One request with a JSON body to whoever listens at `socket`; every status but 200 is an error.
pub(crate) fn call<B: Serialize>(
    socket: &Path,
    method: &'static str,
    path: &str,
    body: Option<&B>,
    deadline: Instant,
) -> Result<Answer, ServiceError> {
    let garbled = |why: String| ServiceError::Garbled { socket: socket.to_owned(), why };
    let body = body.map(serde_json::to_vec).transpose().map_err(|e| garbled(e.to_string()))?;
    let path = format!("{BASE_PATH}{path}");
    let request = Request { method, path: &path, body: body.as_deref() };
    let answer = http::exchange(socket, &request, deadline)?;
    if answer.status == 200 {
        return Ok(answer);
    }
    Err(ServiceError::Status { code: answer.status, message: message(&answer) })
}

/// No body.
const NOTHING: Option<&()> = None;

impl AddressService for SocketService {
    fn healthy(&self, deadline: Instant) -> Result<(), ServiceError> {
        self.call("GET", "/ipam/healthy", NOTHING, deadline).map(drop)
    }

    fn allocate(&self, request: &AddRequest, deadline: Instant) -> Result<AddResponse, ServiceError> {
        self.read(&self.call("POST", "/ipam/ip", Some(request), deadline)?)
    }

    fn release(&self, request: &DelRequest, deadline: Instant) -> Result<(), ServiceError> {
        self.call("DELETE", "/ipam/ip", Some(request), deadline).map(drop)
    }

    fn release_batch(&self, request: &BatchDelRequest, deadline: Instant) -> Result<(), ServiceError> {
        self.call("DELETE", "/ipam/ips", Some(request), deadline).map(drop)
    }

    fn coordinator_config(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<CoordinatorConfig, ServiceError> {
        let answer = self.call("GET", "/coordinator/config", Some(pod), deadline)?;
        self.read_with(&answer, &CoordinatorConfig::REQUIRED)
    }

    fn workload_endpoint(
        &self,
        pod: &PodIdentity,
        deadline: Instant,
    ) -> Result<WorkloadEndpoint, ServiceError> {
        let query = [&pod.pod_namespace, &pod.pod_name].map(|text| http::encoded(text));
        let path = format!("/workloadendpoint?podNamespace={}&podName={}", query[0], query[1]);
        self.read(&self.call("GET", &path, NOTHING, deadline)?)
    }
}

/// The text of an error: a bare JSON string, a refusal, or whatever it is.
fn message(answer: &Answer) -> String {
    if let Ok(text) = serde_json::from_slice::<String>(&answer.body) {
        return text;
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer.body) {
        return refusal.message;
    }
    let text = String::from_utf8_lossy(&answer.body);
    match text.trim() {
        "" => format!("status {}", answer.status),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
