//! The socket between plugin and daemon: Go's net/rpc over HTTP (spec/plugins.md 2.3). [`client`] calls, [`server`] answers.
//!
//! `DHCP.Allocate` and `DHCP.Release` are the replaced daemon's. `DHCP.Check` is ours: it asks whether there is a lease, and never gets one.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use polynic_cni::Success;

use crate::gob::{Decoder, Encoder, Shape, Type, Value};

pub mod client;
mod result;
pub mod server;

/// Where the daemon listens by default.
pub const DEFAULT_SOCKET: &str = "/run/cni/dhcp.sock";

/// What a daemon can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A lease for an interface.
    Allocate,
    /// The end of a lease.
    Release,
    /// Whether there is a lease.
    Check,
}

impl Method {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocate => "DHCP.Allocate",
            Self::Release => "DHCP.Release",
            Self::Check => "DHCP.Check",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Allocate, Self::Release, Self::Check].into_iter().find(|method| method.name() == name)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin was called with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// Absolute path of the namespace.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// `CNI_PATH`.
    pub path: String,
    /// The configuration.
    pub stdin: Vec<u8>,
}

const REQUEST: Shape =
    Shape { name: "Request", fields: &[("ServiceMethod", Type::Text), ("Seq", Type::Uint)] };

const RESPONSE: Shape = Shape {
    name: "Response",
    fields: &[("ServiceMethod", Type::Text), ("Seq", Type::Uint), ("Error", Type::Text)],
};

const ARGUMENTS: Shape = Shape {
    name: "CmdArgs",
    fields: &[
        ("ContainerID", Type::Text),
        ("Netns", Type::Text),
        ("IfName", Type::Text),
        ("Args", Type::Text),
        ("Path", Type::Text),
        ("NetnsOverride", Type::Text),
        ("StdinData", Type::Bytes),
    ],
};

/// What stands where there is nothing to say.
const NOTHING: Shape = Shape { name: "Nothing", fields: &[] };

impl Arguments {
    fn to_value(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        Value::of([
            ("ContainerID", text(&self.container_id)),
            ("Netns", text(&self.netns)),
            ("IfName", text(&self.ifname)),
            ("Args", text(&self.args)),
            ("Path", text(&self.path)),
            ("StdinData", Value::Bytes(self.stdin.clone())),
        ])
    }

    fn of(value: &Value) -> Self {
        let text = |name| value.text(name).to_owned();
        Self {
            container_id: text("ContainerID"),
            netns: text("Netns"),
            ifname: text("IfName"),
            args: text("Args"),
            path: text("Path"),
            stdin: value.bytes("StdinData").to_vec(),
        }
    }
}

/// One side of a connection, after the greeting.
struct Connection {
    stream: BufReader<UnixStream>,
    encoder: Encoder,
    decoder: Decoder,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream), encoder: Encoder::default(), decoder: Decoder::new() }
    }

    /// The first line of an HTTP message; its headers are read and forgotten.
    fn greeting(&mut self) -> io::Result<String> {
        let first = self.line()?;
        while !self.line()?.is_empty() {}
        Ok(first)
    }

    fn line(&mut self) -> io::Result<String> {
        /// No line of a greeting comes near.
        const LONGEST_LINE: u64 = 8192;
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut self.stream, LONGEST_LINE);
        limited.read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn read(&mut self) -> io::Result<Value> {
        self.decoder.read(&mut self.stream)
    }

    /// A header and its body, in one piece.
    fn write(&mut self, header: (&'static Shape, Value), body: (&'static Shape, Value)) -> io::Result<()> {
        let mut bytes = self.encoder.encode(header.0, &header.1);
        bytes.extend(self.encoder.encode(body.0, &body.1));
        self.stream.get_mut().write_all(&bytes)
    }
}

/// What a daemon does when it is asked.
pub trait Service: Send + Sync {
    /// A lease for an interface.
    fn allocate(&self, arguments: Arguments) -> Result<Success, String>;
    /// The end of a lease.
    fn release(&self, arguments: Arguments) -> Result<(), String>;
    /// Whether there is a lease.
    fn check(&self, arguments: Arguments) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::{Ip, Route};
    use std::sync::Arc;

    struct Fixed;

    impl Service for Fixed {
        fn allocate(&self, arguments: Arguments) -> Result<Success, String> {
            let address = format!("10.0.0.{}/24", arguments.stdin.len());
            let ip = Ip { gateway: Some("10.0.0.1".parse().unwrap()), ..Ip::new(address.parse().unwrap()) };
            let link = Route {
                scope: Some(253),
                priority: Some(7),
                ..Route::new("10.9.0.0/16".parse().unwrap(), None)
            };
            let default = Route::new("0.0.0.0/0".parse().unwrap(), ip.gateway);
            Ok(Success { ips: vec![ip], routes: vec![default, link], ..Success::default() })
        }

        fn release(&self, arguments: Arguments) -> Result<(), String> {
            if arguments.container_id == "c1" { Ok(()) } else { Err("no such thing".into()) }
        }

        fn check(&self, _: Arguments) -> Result<(), String> {
            Ok(())
        }
    }

    fn pair() -> client::Daemon {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || server::serve(theirs, Arc::new(Fixed)));
        client::Daemon::greet(ours).unwrap()
    }

    #[test]
    fn a_result_arrives_as_it_was_sent() {
        let mut daemon = pair();
        let arguments = Arguments { container_id: "c1".into(), stdin: vec![7; 200], ..Arguments::default() };
        let sent = Fixed.allocate(arguments.clone()).unwrap();
        assert_eq!(daemon.allocate(&arguments).unwrap(), sent);
        assert_eq!(daemon.allocate(&arguments).unwrap(), sent, "a second call on the same connection");
        daemon.release(&arguments).unwrap();
        daemon.check(&arguments).unwrap();
    }

    #[test]
    fn an_error_is_an_answer_and_the_connection_goes_on() {
        let mut daemon = pair();
        let error = daemon.release(&Arguments::default()).unwrap_err();
        assert_eq!(error.to_string(), "error calling DHCP.Release: no such thing");
        daemon.check(&Arguments::default()).unwrap();
    }
}
