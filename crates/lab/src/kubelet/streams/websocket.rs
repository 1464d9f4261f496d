//! WebSockets: a program's streams as numbered channels (`v4.channel.k8s.io`, `v5.channel.k8s.io`), and the tunnel of port-forward.
//!
//! Each message begins with the number of its channel. v5 adds a message by which the client closes a channel.

use base64::Engine as _;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::sync::mpsc::Sender;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::exec::Streams;
use super::session::{Ended, Outer, Output, Size};
use super::{Answer, offered, switching, text};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What all WebSockets of this server are.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers a request for a WebSocket with one of `protocols`, the best one first, and does `work` with it.
pub fn accept<F>(
    mut request: Request<Incoming>,
    protocols: &[&'static str],
    work: impl FnOnce(Socket) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let asked = offered(&request, PROTOCOL);
    let Some(protocol) = protocols.iter().find(|known| asked.iter().any(|asked| asked == *known)) else {
        let why = format!("none of the sub-protocols {asked:?} is known: there are {}", protocols.join(", "));
        return text(StatusCode::BAD_REQUEST, &why);
    };
    let Some(key) = request.headers().get("Sec-WebSocket-Key") else {
        return text(StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key");
    };
    let mut answer = switching("websocket");
    if let Ok(accepted) = HeaderValue::from_str(&accept_key(key.as_bytes())) {
        answer.headers_mut().insert("Sec-WebSocket-Accept", accepted);
    }
    answer.headers_mut().insert(PROTOCOL, HeaderValue::from_static(protocol));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            work(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
        }
    });
    answer
}

/// RFC 6455, section 4.2.2.
fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}

/// Connects a running program with the client.
pub fn commands<W>(request: Request<Incoming>, streams: Streams, outer: Outer, work: W) -> Answer
where
    W: Future<Output = Ended> + Send + 'static,
{
    accept(request, &["v5.channel.k8s.io", "v4.channel.k8s.io"], move |socket| {
        converse(socket, streams, outer, work)
    })
}

async fn converse(
    socket: Socket,
    streams: Streams,
    outer: Outer,
    work: impl Future<Output = Ended> + Send + 'static,
) {
    let (mut sink, mut stream) = socket.split();
    let Outer { stdin, sizes, mut output } = outer;
    let mut input = Input { stdin: stdin.filter(|_| streams.stdin), sizes };
    let running = tokio::spawn(work);
    loop {
        tokio::select! {
            written = output.recv() => {
                // The program's side is closed: nothing more comes from there.
                let Some(written) = written else { break };
                if sink.send(frame(written)).await.is_err() {
                    break;
                }
            }
            message = stream.next() => match message {
                Some(Ok(Message::Binary(bytes))) => input.take(&bytes).await,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let ended = running.await.unwrap_or_else(|why| Ended::Failed(why.to_string()));
    let _ = sink.send(message(ERROR, ended.status().to_string().as_bytes())).await;
    let _ = sink.send(goodbye()).await;
}

/// What the client may send to a program.
struct Input {
    stdin: Option<Sender<Bytes>>,
    sizes: Sender<Size>,
}

impl Input {
    /// Passes on a message by the number of its channel.
    async fn take(&mut self, message: &[u8]) {
        match message.split_first() {
            Some((&STDIN, rest)) => {
                if let Some(stdin) = &self.stdin {
                    // A program that reads no more does not stop the client.
                    let _ = stdin.send(Bytes::copy_from_slice(rest)).await;
                }
            }
            Some((&RESIZE, rest)) => {
                if let Ok(size) = serde_json::from_slice(rest) {
                    let _ = self.sizes.send(size).await;
                }
            }
            Some((&CLOSE, [STDIN, ..])) => self.stdin = None,
            _ => {}
        }
    }
}

/// Clients take any other end for a failure, also one without a code.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
}

fn frame(output: Output) -> Message {
    match output {
        Output::Stdout(bytes) => message(STDOUT, &bytes),
        Output::Stderr(bytes) => message(STDERR, &bytes),
    }
}

fn message(channel: u8, content: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(content);
    Message::Binary(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_in_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_begin_with_their_channel() {
        let Message::Binary(bytes) = frame(Output::Stderr("x".into())) else { panic!() };
        assert_eq!(&bytes[..], [STDERR, b'x']);
    }
}
