//! Answering calls on one connection.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::result::{self, RESULT};
use super::{Arguments, Connection, Method, NOTHING, RESPONSE, Service};
use crate::gob::{Shape, Value};

/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves a connection until its other side closes it, or says something that is no call.
pub fn serve(stream: UnixStream, service: Arc<dyn Service>) {
    // Nobody is there to be told how a connection ended.
    let _ = converse(stream, service.as_ref());
}

fn converse(stream: UnixStream, service: &dyn Service) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = Connection::new(stream);
    if !connection.greeting()?.starts_with("CONNECT ") {
        return connection.say("HTTP/1.0 405 Method Not Allowed\n\n405 must CONNECT\n");
    }
    connection.say("HTTP/1.0 200 Connected to Go RPC\n\n")?;
    loop {
        let header = connection.read()?;
        let arguments = Arguments::of(&connection.read()?);
        let name = header.text("ServiceMethod");
        let (error, body) = match answer(service, name, arguments) {
            Ok(body) => (String::new(), body),
            Err(text) => (text, (&NOTHING, Value::of([]))),
        };
        let sequence = Value::Uint(header.number("Seq").unwrap_or_default());
        let response = Value::of([
            ("ServiceMethod", Value::Text(name.to_owned())),
            ("Seq", sequence),
            ("Error", Value::Text(error)),
        ]);
        connection.write((&RESPONSE, response), body)?;
    }
}

fn answer(
    service: &dyn Service,
    name: &str,
    arguments: Arguments,
) -> Result<(&'static Shape, Value), String> {
    let nothing = |()| (&NOTHING, Value::of([]));
    match Method::named(name) {
        Some(Method::Allocate) => service.allocate(arguments).map(|r| (&RESULT, result::to_value(&r))),
        Some(Method::Release) => service.release(arguments).map(nothing),
        Some(Method::Check) => service.check(arguments).map(nothing),
        None => Err(format!("rpc: can't find method {name}")),
    }
}
