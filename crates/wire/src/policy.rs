//! What an attachment asks of whoever keeps network policies in force on the node, over a unix socket of its own.
//!
//! `PUT /v1/policy/sandbox` with a [`PolicySandbox`] is answered when the rules are in the kernel, `DELETE` on the same path when what
//! only a failed attachment needed is gone. Both can be repeated.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::client::call;
use crate::service::ServiceError;

/// The path of sandboxes below the base path.
pub const SANDBOX: &str = "/policy/sandbox";

/// Between two looks whether the agent is back.
const PAUSE: Duration = Duration::from_millis(100);

/// A pod's network namespace and its secondary networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySandbox {
    /// Id of the pod's sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Path of the pod's network namespace.
    pub net_namespace: String,
    /// The pod.
    pub pod_namespace: String,
    /// The pod.
    pub pod_name: String,
    /// The pod's UID as the runtime knows it; may be empty.
    #[serde(rename = "podUID", default)]
    pub pod_uid: String,
    /// Its networks but for the default one.
    pub networks: Vec<PolicyNetwork>,
}

/// One attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyNetwork {
    /// As in the network status: `namespace/name` of a NAD.
    pub name: String,
    /// The interface in the pod.
    pub interface: String,
}

/// Whoever listens at a path.
#[derive(Clone, Debug)]
pub struct PolicySocket {
    socket: PathBuf,
}

impl PolicySocket {
    /// The agent at this path, if one listens there.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Has the policies put in force. Waits for an agent that is away, until the deadline: it may just be starting again.
    ///
    /// # Errors
    /// They are not in force.
    pub fn protect(&self, sandbox: &PolicySandbox, deadline: Instant) -> Result<(), ServiceError> {
        loop {
            match self.send("PUT", sandbox, deadline) {
                Err(ServiceError::Away { .. }) if Instant::now() + PAUSE < deadline => {
                    std::thread::sleep(PAUSE);
                }
                answered => return answered,
            }
        }
    }

    /// Has what only a failed attachment needed removed.
    ///
    /// # Errors
    /// It may still be there.
    pub fn release(&self, sandbox: &PolicySandbox, deadline: Instant) -> Result<(), ServiceError> {
        self.send("DELETE", sandbox, deadline)
    }

    fn send(
        &self,
        method: &'static str,
        sandbox: &PolicySandbox,
        deadline: Instant,
    ) -> Result<(), ServiceError> {
        call(&self.socket, method, SANDBOX, Some(sandbox), deadline).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    fn sandbox() -> PolicySandbox {
        let networks = vec![PolicyNetwork { name: "blue/lan".into(), interface: "net1".into() }];
        PolicySandbox { container_id: "c1".into(), networks, ..PolicySandbox::default() }
    }

    #[test]
    fn nobody_there_is_an_error_when_the_time_is_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = PolicySocket::new(directory.path().join("none.sock"));
        let error = socket.protect(&sandbox(), Instant::now() + Duration::from_millis(250)).unwrap_err();
        assert!(error.is_without_answer(), "{error}");
    }

    #[test]
    fn an_agent_that_comes_later_is_waited_for_and_its_refusal_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let socket = PolicySocket::new(&path);
        let asking =
            std::thread::spawn(move || socket.protect(&sandbox(), Instant::now() + Duration::from_secs(20)));
        let listener = UnixListener::bind(&path).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        while !text.contains("\"net1\"") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
        assert!(text.starts_with("PUT /v1/policy/sandbox HTTP/1.1\r\n"), "{text}");
        stream.write_all(b"HTTP/1.1 500 x\r\nContent-Length: 6\r\n\r\n\"full\"").unwrap();
        drop(stream);
        let error = asking.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "full");
    }
}
