//! A node agent that knows one answer: what `coordinator` asks for.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::OnceLock;

const SOCKET: &str = "/var/run/spidernet/spiderpool.sock";
const ANSWER: &str = r#"{"mode":"auto","overlayPodCIDR":["10.244.0.0/16","fd00:244::/48"],"serviceCIDR":["10.233.0.0/18","fd00:96::/112"],"tunePodRoutes":true,"hostRuleTable":500}"#;

/// Starts it, once for each test process; it listens in the process's own mounts.
pub(super) fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        std::fs::create_dir_all("/var/run/spidernet").unwrap();
        let listener = UnixListener::bind(SOCKET).unwrap();
        std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    });
}

fn serve(stream: UnixStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut request = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let known = request.starts_with("GET /v1/coordinator/config HTTP/1.1");
    let (status, answer) = if known { ("200 OK", ANSWER) } else { ("404 Not Found", "\"unknown\"") };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let _ = (&stream).write_all(format!("{head}{answer}").as_bytes());
}
