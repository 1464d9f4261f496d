//! A scripted API server on loopback: plain HTTP, one answer per request, every request recorded.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::KubeCluster;
use crate::retry::Limits;

/// `METHOD path` and the body.
pub(crate) type Seen = (String, String);

#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, Value)>,
    seen: Vec<Seen>,
    delay: Duration,
    together: usize,
}

pub(crate) struct FakeServer {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl FakeServer {
    /// A server that gives these answers in order, and 404 after them.
    pub(crate) fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Script { answers: answers.into_iter().collect(), ..Script::default() };
        let script = Arc::new(Mutex::new(script));
        let shared = script.clone();
        // The thread ends with the test process; it holds nothing but its socket.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = shared.clone();
                thread::spawn(move || serve(stream, &script));
            }
        });
        FakeServer { port, script }
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.script.lock().unwrap().delay = delay;
    }

    /// Answers nothing before this many requests have come.
    pub(crate) fn answer_together(&self, requests: usize) {
        self.script.lock().unwrap().together = requests;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen().into_iter().map(|(request, _)| request).collect()
    }

    /// A client of this server.
    pub(crate) async fn client(&self) -> kube::Client {
        let url = format!("http://127.0.0.1:{}", self.port).parse().unwrap();
        crate::connect::client(kube::Config::new(url)).unwrap()
    }

    /// A cluster that asks this server.
    pub(crate) fn cluster(&self) -> KubeCluster {
        let patient = Limits { attempt: Duration::from_secs(30), total: Duration::from_secs(60) };
        cluster_at(self.port).with_limits(patient, patient)
    }

    /// A cluster that gives up soon: for servers that never answer.
    pub(crate) fn impatient_cluster(&self) -> KubeCluster {
        cluster_at(self.port)
    }
}

/// A cluster that gives up soon.
pub(crate) fn cluster_at(port: u16) -> KubeCluster {
    let file = NamedTempFile::new().unwrap();
    let yaml = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: \"http://localhost:{port}\"}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(file.path(), yaml).unwrap();
    let limits = Limits { attempt: Duration::from_millis(300), total: Duration::from_millis(900) };
    let brief = Limits { attempt: Duration::from_millis(50), total: Duration::from_millis(100) };
    KubeCluster::select(&file.path().display().to_string()).unwrap().unwrap().with_limits(limits, brief)
}

/// A status object as the API gives it with errors.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn serve(stream: TcpStream, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = request(&mut reader) {
        let (answer, delay) = {
            let mut script = script.lock().unwrap();
            script.seen.push(seen);
            (script.answers.pop_front(), script.delay)
        };
        thread::sleep(delay);
        while !script.lock().map(|script| script.seen.len() >= script.together).unwrap() {
            thread::sleep(Duration::from_millis(5));
        }
        let (code, body) = answer.unwrap_or_else(|| failure(404, "NotFound", "nothing left"));
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if reader.get_mut().write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    let mut first = String::new();
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let trimmed = line.trim_end();
        if trimmed.is_empty() {
            break;
        }
        if first.is_empty() {
            first = trimmed.rsplit_once(' ')?.0.trim_end_matches('?').to_owned();
        } else if let Some(value) = trimmed.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).ok()?))
}
