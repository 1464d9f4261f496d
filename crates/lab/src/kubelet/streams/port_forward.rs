//! Port-forward: connections of a client's machine go on inside the pod.
//!
//! Old clients speak SPDY, new ones SPDY inside of a WebSocket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use polynic_kernel::netns::{Netns, Pod};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{self, Socket};
use super::{Answer, Call, spdy, text, wants};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Bytes under way in a tunnel.
const ROOM: usize = 64 << 10;

/// Serves the connections of one client.
pub fn answer(call: Call, request: Request<Incoming>) -> Answer {
    let Some(pause) = call.sandbox.pause else {
        return text(StatusCode::NOT_FOUND, "the pod has no process");
    };
    if wants(&request, "websocket") {
        return websocket::accept(request, &[TUNNEL], move |socket| async move {
            let (near, far) = tokio::io::duplex(ROOM);
            tokio::spawn(tunnel(socket, far));
            spdy::forward::serve(near, pause.pid).await;
        });
    }
    if wants(&request, "SPDY/3.1") {
        return spdy::forward::answer(request, pause.pid);
    }
    text(StatusCode::BAD_REQUEST, "you must upgrade to WebSocket or SPDY/3.1")
}

/// Messages of a WebSocket as a stream of bytes: their limits mean nothing.
async fn tunnel(socket: Socket, inner: DuplexStream) {
    let (mut sink, mut stream) = socket.split();
    let (mut read, mut write) = tokio::io::split(inner);
    let out = async {
        let mut buffer = vec![0; ROOM];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            if sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                break;
            }
        }
        let _ = sink.send(websocket::goodbye()).await;
    };
    let back = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) if write.write_all(&bytes).await.is_ok() => {}
                Message::Binary(_) | Message::Close(_) => break,
                _ => {}
            }
        }
    };
    tokio::select! { () = out => {}, () = back => {} }
}

/// Connects to a port of the pod, on its loopback address.
pub async fn connect(pause: u32, port: u16) -> io::Result<TcpStream> {
    let opened = tokio::task::spawn_blocking(move || {
        let network = Netns::<Pod>::of_process(pause).map_err(|why| io::Error::other(why.to_string()))?;
        network.run(move || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .or_else(|_| std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)))
        })?
    });
    let stream = opened.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
