//! Calling a daemon: ours or the replaced one.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use polynic_cni::Success;

use super::{ARGUMENTS, Arguments, Connection, Method, REQUEST, result};
use crate::gob::Value;

/// What Go's server says of a method that it does not have.
const UNKNOWN_METHOD: &str = "rpc: can't find method";

/// A connection to a daemon.
pub struct Daemon {
    connection: Connection,
    sequence: u64,
    /// How long an answer is waited for.
    patience: Duration,
}

/// Why a call failed. The texts are the replaced plugin's.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("error dialing DHCP daemon: {0}")]
    Dial(io::Error),
    /// The connection broke.
    #[error("error calling {0}: {1}")]
    Connection(Method, io::Error),
    /// The daemon says no.
    #[error("error calling {0}: {1}")]
    Refused(Method, String),
}

impl Daemon {
    /// Connects. An answer is waited for as long as `patience`.
    ///
    /// # Errors
    /// [`CallError::Dial`].
    pub fn dial(socket: &Path, patience: Duration) -> Result<Self, CallError> {
        let named = |e: io::Error| {
            let text = e.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            CallError::Dial(io::Error::new(
                e.kind(),
                format!("dial unix {}: connect: {text}", socket.display()),
            ))
        };
        let stream = UnixStream::connect(socket).map_err(named)?;
        stream.set_read_timeout(Some(patience)).map_err(CallError::Dial)?;
        let late = |e: io::Error| say_late(e, patience);
        Ok(Self { patience, ..Self::greet(stream).map_err(|e| CallError::Dial(late(e)))? })
    }

    pub(super) fn greet(stream: UnixStream) -> io::Result<Self> {
        let mut connection = Connection::new(stream);
        connection.say("CONNECT /_goRPC_ HTTP/1.0\n\n")?;
        let greeting = connection.greeting()?;
        if !greeting.contains(" 200 ") {
            return Err(io::Error::other(format!("unexpected HTTP response: {greeting}")));
        }
        Ok(Self { connection, sequence: 0, patience: Duration::MAX })
    }

    /// A lease for an interface: addresses and routes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn allocate(&mut self, arguments: &Arguments) -> Result<Success, CallError> {
        let method = Method::Allocate;
        let answer = self.call(method, arguments)?;
        result::of(&answer).ok_or_else(|| CallError::Refused(method, "the answer is no result".to_owned()))
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn release(&mut self, arguments: &Arguments) -> Result<(), CallError> {
        self.call(Method::Release, arguments).map(drop)
    }

    /// Asks whether there is a lease. A daemon that cannot say so without getting one is not asked to.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn check(&mut self, arguments: &Arguments) -> Result<(), CallError> {
        match self.call(Method::Check, arguments) {
            Err(CallError::Refused(_, text)) if text.starts_with(UNKNOWN_METHOD) => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn call(&mut self, method: Method, arguments: &Arguments) -> Result<Value, CallError> {
        let patience = self.patience;
        let broken = |e: io::Error| CallError::Connection(method, say_late(e, patience));
        let name = Value::Text(method.name().to_owned());
        let header = Value::of([("ServiceMethod", name), ("Seq", Value::Uint(self.sequence))]);
        self.sequence += 1;
        self.connection.write((&REQUEST, header), (&ARGUMENTS, arguments.to_value())).map_err(broken)?;
        let header = self.connection.read().map_err(broken)?;
        let body = self.connection.read().map_err(broken)?;
        match header.text("Error") {
            "" => Ok(body),
            text => Err(CallError::Refused(method, text.to_owned())),
        }
    }
}

/// An answer that does not come is "temporarily unavailable" to the kernel, which says nothing to people.
fn say_late(why: io::Error, patience: Duration) -> io::Error {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()))
        }
        _ => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_said_to_be_late() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("dhcp.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let why = Daemon::dial(&socket, Duration::from_millis(10)).err().unwrap().to_string();
        assert_eq!(why, "error dialing DHCP daemon: no answer within 0 s");
        drop(listener);
        let why = Daemon::dial(&socket, Duration::from_millis(10)).err().unwrap().to_string();
        assert!(why.ends_with("dhcp.sock: connect: Connection refused"), "{why}");
    }
}
