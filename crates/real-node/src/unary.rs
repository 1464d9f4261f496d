//! Unary gRPC on a unix socket by hand, as far as kubelet's watcher of plugins needs it: it names a socket's path as `:authority`, which is no host, and
//! servers that know the rules of HTTP/2 (RFC 9113) refuse it. Methods are not looked at: who serves a socket knows them by their questions.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Makes the answer's message of a question's.
pub(crate) type Service = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// Of DATA and HEADERS; of SETTINGS and PING it is "acknowledged".
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` by its index, and `content-type` by its name's (RFC 7541 appendix A).
const RESPONSE: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Serves a socket, which is there when this returns, until the test ends. Threads hold nothing but their sockets.
pub(crate) fn serve(socket: PathBuf, service: Arc<Service>) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let service = service.clone();
            // A connection that breaks is its client's business.
            thread::spawn(move || drop(converse(stream, service.as_ref())));
        }
    });
}

fn converse(mut stream: UnixStream, service: &Service) -> io::Result<()> {
    stream.read_exact(&mut [0; PREFACE])?;
    write(&mut stream, SETTINGS, 0, 0, &[])?;
    let mut questions: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let frame = read(&mut stream)?;
        let is_last = frame.flags & END_STREAM != 0;
        match frame.kind {
            SETTINGS if !is_last => write(&mut stream, SETTINGS, END_STREAM, 0, &[])?,
            PING if !is_last => write(&mut stream, PING, END_STREAM, 0, &frame.payload)?,
            DATA => {
                let question = questions.entry(frame.stream).or_default();
                question.extend(frame.payload);
                if is_last {
                    // In front of a message: not compressed, and its length.
                    let answer = service(question.get(5..).unwrap_or_default());
                    respond(&mut stream, frame.stream, &answer)?;
                }
            }
            _ => {}
        }
    }
}

fn respond(stream: &mut UnixStream, id: u32, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    write(stream, HEADERS, END_HEADERS, id, RESPONSE)?;
    write(stream, DATA, 0, id, &[&[0][..], &length, message].concat())?;
    write(stream, HEADERS, END_HEADERS | END_STREAM, id, TRAILERS)
}

fn read(stream: &mut UnixStream) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    let mut payload = vec![0; number(&head[..3]) as usize];
    stream.read_exact(&mut payload)?;
    Ok(Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload })
}

fn write(stream: &mut UnixStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat())
}
