//! A bus as systems have it (Debian's dbus-daemon), and on it somebody with firewalld's name who knows zones and their sources.
//! What goes over the bus is read and written here by itself, so that it is not our own reading that agrees with our own writing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polynic_kernel::testing::say_skipped;

const NAME: &str = "org.fedoraproject.FirewallD1";
/// The only zones there are.
const ZONES: [&str; 2] = ["trusted", "pods"];

/// Sources, each as `zone source`.
type Sources = Arc<Mutex<BTreeSet<String>>>;

/// The daemon of the bus, which ends with this value.
pub(crate) struct BusDaemon {
    child: Child,
    pub(crate) address: String,
    path: String,
}

impl Drop for BusDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl BusDaemon {
    /// Nothing, and a word about it, if the daemon is not installed.
    pub(crate) fn start(directory: &str) -> Option<Self> {
        let path = format!("{directory}/bus");
        let config = format!("{directory}/bus.conf");
        let text = format!(
            r#"<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth><policy context="default">
            <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>"#
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        let command = command.args(["--nofork", "--nopidfile", "--config-file", &config]);
        let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() else {
            say_skipped("there is no `dbus-daemon` (Debian: dbus-daemon)");
            return None;
        };
        let bus = Self { child, address: format!("unix:path={path}"), path };
        wait_for("the bus", || UnixStream::connect(&bus.path).is_ok());
        Some(bus)
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Listens where a bus would, and does this with whoever comes.
pub(crate) fn broken_bus(path: &str, behave: fn(UnixStream)) -> String {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|stream| behave(stream.unwrap())));
    format!("unix:path={path}")
}

/// Takes what comes, and never says a word.
pub(crate) fn hang(mut stream: UnixStream) {
    std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
}

/// Lets everybody in, and then says what is no message.
pub(crate) fn talk_nonsense(mut stream: UnixStream) {
    let _ = stream.write_all(b"OK 0123456789abcdef\r\nHTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    hang(stream);
}

pub(crate) fn hang_up(stream: UnixStream) {
    drop(stream);
}

/// Who answers by firewalld's name, until this value is dropped.
pub(crate) struct Firewalld {
    pub(crate) sources: Sources,
    stream: UnixStream,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Firewalld {
    pub(crate) fn start(bus: &BusDaemon) -> Self {
        let mut stream = UnixStream::connect(Path::new(&bus.path)).unwrap();
        let user: String = effective_user().bytes().map(|b| format!("{b:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 128];
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"OK "), "{:?}", String::from_utf8_lossy(&answer));
        stream.write_all(b"BEGIN\r\n").unwrap();
        let mut name = text(NAME);
        // No flags, in four bytes of their own.
        name.resize(name.len().next_multiple_of(4) + 4, 0);
        for (serial, member, signature, body) in
            [(1, "Hello", "", Vec::new()), (2, "RequestName", "su", name)]
        {
            let bus = "org.freedesktop.DBus";
            let fields = [(1, "o", "/org/freedesktop/DBus"), (2, "s", bus), (3, "s", member), (6, "s", bus)];
            stream.write_all(&message(1, serial, None, &fields, signature, &body)).unwrap();
            while receive(&mut stream).unwrap().reply_to != Some(serial) {}
        }
        let sources = Sources::default();
        let served = (stream.try_clone().unwrap(), Arc::clone(&sources));
        let thread = Some(std::thread::spawn(move || serve(served.0, &served.1)));
        Self { sources, stream, thread }
    }

    pub(crate) fn sources(&self) -> Vec<String> {
        self.sources.lock().unwrap().iter().cloned().collect()
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn effective_user() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

/// Answers calls until the connection ends.
fn serve(mut stream: UnixStream, sources: &Sources) {
    while let Some(call) = receive(&mut stream) {
        let Some(member) = call.fields.get(&3) else { continue };
        let (kind, error, signature, body) = match answer(member, &call.texts(), sources) {
            Ok(Reply::Truth(value)) => (2, None, "b", u32::from(value).to_le_bytes().to_vec()),
            Ok(Reply::Text(value)) => (2, None, "s", text(&value)),
            Err(why) => (3, Some(format!("{NAME}.Exception")), "s", text(&why)),
        };
        let mut fields = vec![(6, "s", call.fields[&7].as_str())];
        fields.extend(error.as_deref().map(|name| (4, "s", name)));
        if stream
            .write_all(&message(kind, call.serial, Some(call.serial), &fields, signature, &body))
            .is_err()
        {
            return;
        }
    }
}

enum Reply {
    Truth(bool),
    Text(String),
}

/// As firewalld 1.x answers.
fn answer(member: &str, arguments: &[String], sources: &Sources) -> Result<Reply, String> {
    let [zone, source] = arguments else { return Err("INVALID_ARGUMENTS".to_owned()) };
    if !ZONES.contains(&zone.as_str()) {
        return Err(format!("INVALID_ZONE: {zone}"));
    }
    let entry = format!("{zone} {source}");
    let mut sources = sources.lock().unwrap();
    match member {
        "querySource" => Ok(Reply::Truth(sources.contains(&entry))),
        "addSource" if sources.insert(entry.clone()) => Ok(Reply::Text(zone.clone())),
        "addSource" => Err(format!("ZONE_ALREADY_SET: '{source}' already bound to '{zone}'")),
        "removeSource" if sources.remove(&entry) => Ok(Reply::Text(zone.clone())),
        "removeSource" => Err(format!("UNKNOWN_SOURCE: '{source}' is not in any zone")),
        _ => Err(format!("UNKNOWN_METHOD: {member}")),
    }
}

/// A message with its header fields of text, by code.
struct Received {
    serial: u32,
    reply_to: Option<u32>,
    fields: BTreeMap<u8, String>,
    body: Vec<u8>,
}

impl Received {
    /// The body, if it is texts.
    fn texts(&self) -> Vec<String> {
        let mut at = 0;
        let count = self.fields.get(&8).map_or(0, String::len);
        (0..count).map(|_| take_text(&self.body, &mut at)).collect()
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn take_text(bytes: &[u8], at: &mut usize) -> String {
    *at = at.next_multiple_of(4);
    let length = number(bytes, *at) as usize;
    let text = String::from_utf8(bytes[*at + 4..*at + 4 + length].to_vec()).unwrap();
    *at += 4 + length + 1;
    text
}

/// Nothing at the end of the connection.
fn receive(stream: &mut UnixStream) -> Option<Received> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0], b'l', "the order of bytes");
    let (body, end) = (number(&head, 4) as usize, number(&head, 12) as usize);
    let mut rest = vec![0; end.next_multiple_of(8) + body];
    stream.read_exact(&mut rest).ok()?;
    let mut received = Received {
        serial: number(&head, 8),
        reply_to: None,
        fields: BTreeMap::new(),
        body: rest.split_off(end.next_multiple_of(8)),
    };
    let mut at = 0_usize;
    while at < end {
        at = at.next_multiple_of(8);
        let (code, kind) = (rest[at], rest[at + 2]);
        at += 4;
        match kind {
            b'u' => {
                let value = number(&rest, at);
                at += 4;
                received.reply_to = (code == 5).then_some(value).or(received.reply_to);
            }
            b'g' => {
                let length = usize::from(rest[at]);
                let value = String::from_utf8(rest[at + 1..=at + length].to_vec()).unwrap();
                at += length + 2;
                received.fields.insert(code, value);
            }
            _ => drop(received.fields.insert(code, take_text(&rest, &mut at))),
        }
    }
    Some(received)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

fn message(
    kind: u8,
    serial: u32,
    reply_to: Option<u32>,
    fields: &[(u8, &str, &str)],
    signature: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut head = Vec::new();
    let mut field = |code: u8, kind: &str, value: &[u8]| {
        head.resize(Vec::len(&head).next_multiple_of(8), 0);
        head.extend([code, 1, kind.as_bytes()[0], 0]);
        head.extend(value);
    };
    for (code, kind, value) in fields {
        field(*code, kind, &text(value));
    }
    if let Some(serial) = reply_to {
        field(5, "u", &serial.to_le_bytes());
    }
    let length = u8::try_from(signature.len()).unwrap();
    field(8, "g", &[&[length], signature.as_bytes(), &[0]].concat());
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut message = vec![b'l', kind, 0, 1];
    message.extend(size(body));
    message.extend(serial.to_le_bytes());
    message.extend(size(&head));
    message.extend(&head);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}
