//! One HTTP/1.1 request over a unix socket, with a deadline for all of it together.

mod response;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::service::ServiceError;

/// What to send.
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// A JSON text.
    pub(crate) body: Option<&'a [u8]>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends the request and waits for the whole answer.
pub(crate) fn exchange(
    socket: &Path,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<Answer, ServiceError> {
    let failed = |step| move |e: io::Error| failure(socket, step, e);
    let mut stream = open(socket, deadline).map_err(failed("connecting"))?;
    send(&mut stream, request, deadline).map_err(failed("sending the request"))?;
    let mut timed = Timed { stream, deadline };
    response::read(&mut timed).map_err(|e| match e {
        response::ReadError::Broken(e) => failure(socket, "waiting for the answer", e),
        response::ReadError::Garbled(why) => ServiceError::Garbled { socket: socket.to_owned(), why },
    })
}

/// Writes a text so that it can stand as a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let byte = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

fn failure(socket: &Path, step: &'static str, source: io::Error) -> ServiceError {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ServiceError::Late { socket },
        _ => ServiceError::Away { socket, step, source },
    }
}

/// The time that is left. None left is an error: a timeout of zero would mean "for ever".
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Connecting waits while the agent's queue is full, so it needs the deadline as well; the standard library has none for unix sockets.
fn open(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&fd, Timeout::Send, Some(left(deadline)?))?;
    rustix::io::retry_on_intr(|| connect(&fd, &address))?;
    Ok(UnixStream::from(fd))
}

fn send(stream: &mut UnixStream, request: &Request<'_>, deadline: Instant) -> io::Result<()> {
    let body = request.body.unwrap_or_default();
    let mut text =
        format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", request.method, request.path);
    if request.body.is_some() {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text += "Accept: application/json\r\n\r\n";
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(&[text.as_bytes(), body].concat())
}

/// Reads that end at the deadline.
struct Timed {
    stream: UnixStream,
    deadline: Instant,
}

impl io::Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer)
    }
}
