//! The little of D-Bus that it takes to ask one service questions with text arguments: connecting with the process's user as
//! credential, calls, answers. No signals, no objects of our own, no descriptors.

mod message;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use message::{Body, Method};
use message::{HEAD, Kind, Message};

/// How long the bus itself may take. It answers within milliseconds.
const BUS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a service's answer may take. firewalld answers within tens of milliseconds, while it reloads within seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// No answer that is asked for is longer.
const LONGEST: usize = 1 << 20;
/// A line of the handshake.
const LONGEST_LINE: usize = 512;

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// A connection to a bus.
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// When what is under way has taken too long, however much has come of it.
    end: Instant,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bus or the service said no.
    #[error("{name}: {text}")]
    Refused {
        /// The error's name.
        name: String,
        /// Its text.
        text: String,
    },
    /// The other side does not speak as agreed.
    #[error("unexpected answer: {0}")]
    Malformed(&'static str),
}

impl Bus {
    /// Connects and introduces itself.
    pub(crate) fn connect(path: &Path) -> Result<Self, BusError> {
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(BUS_PATIENCE))?;
        let mut bus = Self { stream, serial: 0, end: Instant::now() + BUS_PATIENCE };
        bus.authenticate()?;
        bus.ask(&Method { destination: BUS, path: BUS_PATH, interface: BUS, member: "Hello" }, &[])?;
        Ok(bus)
    }

    /// Whether somebody serves a name. It counts to the time that connecting may take.
    pub(crate) fn has_owner(&mut self, name: &str) -> Result<bool, BusError> {
        let method = Method { destination: BUS, path: BUS_PATH, interface: BUS, member: "NameHasOwner" };
        self.ask(&method, &[name])?.bool()
    }

    /// The user is read from the socket by the other side; the digits say which one is meant.
    fn authenticate(&mut self) -> Result<(), BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let line = self.line()?;
        match line.split_once(' ') {
            Some(("OK", _)) => Ok(self.stream.write_all(b"BEGIN\r\n")?),
            _ => Err(BusError::Refused { name: "authentication".to_owned(), text: line }),
        }
    }

    /// Byte by byte: what follows the line belongs to the first message.
    fn line(&mut self) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LONGEST_LINE {
                return Err(BusError::Malformed("an endless line"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method with these texts and waits for the answer.
    pub(crate) fn call(&mut self, method: &Method<'_>, arguments: &[&str]) -> Result<Body, BusError> {
        self.end = Instant::now() + PATIENCE;
        self.ask(method, arguments)
    }

    fn ask(&mut self, method: &Method<'_>, arguments: &[&str]) -> Result<Body, BusError> {
        self.serial += 1;
        self.stream.write_all(&message::call(self.serial, method, arguments))?;
        loop {
            let message = self.receive()?;
            if message.reply_to != Some(self.serial) {
                continue;
            }
            match message.kind {
                Kind::Return => return Ok(message.body),
                Kind::Error => {
                    let text = message.body.text().unwrap_or_default();
                    return Err(BusError::Refused { name: message.error, text });
                }
                Kind::Other => {}
            }
        }
    }

    fn receive(&mut self) -> Result<Message, BusError> {
        let mut head = [0; HEAD];
        self.read(&mut head)?;
        let rest = message::length(&head).filter(|rest| *rest <= LONGEST);
        let mut bytes = vec![0; rest.ok_or(BusError::Malformed("the head of a message"))?];
        self.read(&mut bytes)?;
        message::parse(&head, &bytes).ok_or(BusError::Malformed("a message"))
    }

    fn read(&mut self, mut room: &mut [u8]) -> io::Result<()> {
        while !room.is_empty() {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => room = &mut room[length..],
                // A timeout that is over is said once, above.
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
