//! Connections that are there before a policy changes.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::super::world::{PATIENCE, Place::Pod, World};
use super::super::{Finding, eventually, packet};
use super::{FRIEND, NEAR, WEB, allow, role, targets};

/// Connections of friend and of near, one to each of web's addresses.
static OPEN: Mutex<Vec<[TcpStream; 2]>> = Mutex::new(Vec::new());

/// web-in allows both of them, they connect; then it allows near alone.
pub fn tighten(world: &World) -> Finding {
    // Nothing else is about friend.
    world.remove(&super::path("friend-out"))?;
    allow(world, &json!([{"from": [role(FRIEND), role(NEAR)]}]))?;
    let mut open = Vec::new();
    for to in targets(world, WEB)? {
        open.push([connection(world, FRIEND, to)?, connection(world, NEAR, to)?]);
    }
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = open;
    let done = allow(world, &json!([{"from": [role(NEAR)]}]))?;
    let here = world.network(Pod(FRIEND))?;
    for to in targets(world, WEB)? {
        eventually(PATIENCE, || packet::silence(&here, to))?;
    }
    Ok(done)
}

fn connection(world: &World, from: &str, to: IpAddr) -> Result<TcpStream, String> {
    let here = world.network(Pod(from))?;
    let server = SocketAddr::new(to, 8080);
    let mut stream = Err("never tried".to_owned());
    eventually(PATIENCE, || {
        let connected = here.run(move || TcpStream::connect_timeout(&server, Duration::from_secs(1)));
        stream =
            connected.and_then(|c| c).map_err(|why| format!("{from} does not connect to {server}: {why}"));
        stream.as_ref().map(|_| String::new()).map_err(Clone::clone)
    })?;
    let stream = stream?;
    is_answered(&stream, PATIENCE)?;
    Ok(stream)
}

/// Sends a line, which the other end sends back.
fn is_answered(mut stream: &TcpStream, patience: Duration) -> Finding {
    stream.set_read_timeout(Some(patience)).map_err(|why| why.to_string())?;
    stream.write_all(b"are you there?\n").map_err(|why| why.to_string())?;
    let mut buffer = [0; 256];
    match stream.read(&mut buffer) {
        Ok(0) => Err("the connection has ended".to_owned()),
        Ok(length) => Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()),
        Err(why) => Err(format!("no answer: {why}")),
    }
}

pub fn cut() -> Finding {
    for [friend, _] in OPEN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        eventually(PATIENCE, || match is_answered(friend, Duration::from_millis(500)) {
            Ok(answer) => Err(format!("still answered: {answer}")),
            Err(why) => Ok(why),
        })?;
    }
    Ok("on both networks and families".to_owned())
}

pub fn goes_on() -> Finding {
    let open = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
    for [_, near] in &open {
        is_answered(near, PATIENCE)?;
    }
    match open.len() {
        0 => Err("there were no connections".to_owned()),
        count => Ok(format!("{count} connections")),
    }
}
