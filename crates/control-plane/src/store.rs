//! etcd behind the API server's back: what a test left is removed at once, whatever finalizers it has.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Of the kinds that a server keeps for itself, and of definitions: to serve a kind anew takes a server seconds.
const KEPT: [&str; 7] = [
    "/registry/apiextensions.k8s.io/",
    "/registry/apiregistration.k8s.io/",
    "/registry/ipaddresses/",
    "/registry/leases/kube-system/apiserver-",
    "/registry/masterleases/",
    "/registry/ranges/",
    "/registry/servicecidrs/",
];
/// What a server makes for itself a moment after it is ready.
const OWN: [&str; 3] = [
    "/registry/services/specs/default/kubernetes",
    "/registry/services/endpoints/default/kubernetes",
    "/registry/endpointslices/default/kubernetes",
];
/// Time in which the last write of a client that has gone is done.
const STRAGGLERS: Duration = Duration::from_millis(100);
/// How often it is looked again.
const ROUNDS: usize = 100;
/// Operations of one transaction; etcd's own limit is 128.
const BATCH: usize = 100;

/// etcd's JSON gateway, on a port of loopback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Store {
    pub(crate) port: u16,
}

impl Store {
    /// Keys of all objects.
    pub(crate) fn keys(self) -> io::Result<BTreeSet<String>> {
        let all = json!({"key": STANDARD.encode("/registry/"), "range_end": STANDARD.encode("/registry0"), "keys_only": true});
        let answer = self.ask("range", &all)?;
        let entries = answer["kvs"].as_array().into_iter().flatten();
        Ok(entries.filter_map(|entry| decoded(&entry["key"])).collect())
    }

    /// Removes every object that is not among these, but for definitions and what the server keeps for itself; until nothing more comes:
    /// what clients sent that are gone may still be under way.
    pub(crate) fn keep_only(self, kept: &BTreeSet<String>) -> io::Result<()> {
        for _ in 0..ROUNDS {
            let others = self.others(kept)?;
            if others.is_empty() {
                return Ok(());
            }
            others.chunks(BATCH).try_for_each(|keys| self.delete(keys))?;
            thread::sleep(STRAGGLERS);
        }
        Err(io::Error::other(format!("somebody goes on making these: {:?}", self.others(kept)?)))
    }

    fn others(self, kept: &BTreeSet<String>) -> io::Result<Vec<String>> {
        let is_kept = |key: &String| {
            kept.contains(key)
                || OWN.contains(&key.as_str())
                || KEPT.iter().any(|prefix| key.starts_with(prefix))
        };
        Ok(self.keys()?.into_iter().filter(|key| !is_kept(key)).collect())
    }

    fn delete(self, keys: &[String]) -> io::Result<()> {
        let deletion = |key: &String| json!({"request_delete_range": {"key": STANDARD.encode(key)}});
        let deletions: Vec<Value> = keys.iter().map(deletion).collect();
        self.ask("txn", &json!({"success": deletions})).map(drop)
    }

    fn ask(self, what: &str, body: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let body = body.to_string();
        // HTTP/1.0: the answer ends with the connection, and has no chunks.
        write!(stream, "POST /v3/kv/{what} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if head.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("etcd answers {what} with: {answer}")));
        }
        serde_json::from_str(body).map_err(io::Error::other)
    }
}

fn decoded(key: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(key.as_str()?).ok()?).ok()
}
