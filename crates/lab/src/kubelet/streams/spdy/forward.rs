//! Port-forward over SPDY: for each connection of the client a stream of type `error` and one of type `data`, with the same request id.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::{Answer, port_forward, switching};
use super::connection::{self, Sender, Stream};

/// Serves a connection that comes without a WebSocket around it.
pub fn answer(mut request: Request<Incoming>, pause: u32) -> Answer {
    let mut answer = switching("SPDY/3.1");
    answer.headers_mut().insert("X-Stream-Protocol-Version", HeaderValue::from_static("portforward.k8s.io"));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(TokioIo::new(upgraded), pause).await;
        }
    });
    answer
}

/// Serves the client's connections until it goes.
pub async fn serve(io: impl AsyncRead + AsyncWrite + Send + 'static, pause: u32) {
    let mut opened = connection::serve(io);
    let mut errors: HashMap<String, Stream> = HashMap::new();
    while let Some(stream) = opened.recv().await {
        let id = stream.headers.get("requestid").cloned().unwrap_or_default();
        match stream.headers.get("streamtype").map(String::as_str) {
            Some("error") => drop(errors.insert(id, stream)),
            Some("data") => {
                let error = errors.remove(&id).map(|stream| stream.outgoing);
                tokio::spawn(carry(stream, error, pause));
            }
            _ => {}
        }
    }
}

async fn carry(data: Stream, error: Option<Sender>, pause: u32) {
    let port = data.headers.get("port").and_then(|port| port.parse().ok()).unwrap_or(0);
    match port_forward::connect(pause, port).await {
        Ok(connection) => both_ways(data, connection).await,
        Err(why) => {
            if let Some(error) = &error {
                error.send(format!("cannot connect to port {port} of the pod: {why}").as_bytes()).await;
            }
            data.outgoing.finish().await;
        }
    }
    if let Some(error) = error {
        error.finish().await;
    }
}

async fn both_ways(data: Stream, connection: tokio::net::TcpStream) {
    let (mut read, mut write) = connection.into_split();
    let Stream { mut incoming, outgoing, .. } = data;
    let to_pod = async {
        while let Some(bytes) = incoming.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    let from_pod = async {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            if !outgoing.send(&buffer[..count]).await {
                return;
            }
        }
        outgoing.finish().await;
    };
    tokio::join!(to_pod, from_pod);
}
