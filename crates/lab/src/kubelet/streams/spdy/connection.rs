//! A connection with its streams.
//!
//! One task reads frames and hands them to their streams, another one writes what streams send.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{self, Frame};
use super::headers::{Headers, Reader, Writer};

/// Frames and bytes under way.
const ROOM: usize = 64;
/// Bytes of one data frame.
const PIECE: usize = 32 << 10;

/// A stream that the client opened.
pub struct Stream {
    /// Its headers, with names in small letters.
    pub headers: Headers,
    /// What the client sends; closed at its end.
    pub incoming: mpsc::Receiver<Bytes>,
    /// Our direction.
    pub outgoing: Sender,
}

/// One direction of a stream.
#[derive(Clone)]
pub struct Sender {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

impl Sender {
    /// Sends bytes. False if the connection is gone.
    pub async fn send(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(PIECE) {
            let frame = Frame::Data { stream: self.stream, bytes: Bytes::copy_from_slice(piece), fin: false };
            if self.frames.send(frame).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends this direction.
    pub async fn finish(&self) {
        let _ = self.frames.send(Frame::Data { stream: self.stream, bytes: Bytes::new(), fin: true }).await;
    }

    /// Resolves when the connection is gone.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }
}

/// Serves a connection. The streams that the client opens come out of the receiver, which closes when the connection does.
pub fn serve(io: impl AsyncRead + AsyncWrite + Send + 'static) -> mpsc::Receiver<Stream> {
    let (read, write) = tokio::io::split(io);
    let (frames, to_write) = mpsc::channel(ROOM);
    let (streams, opened) = mpsc::channel(ROOM);
    let writing = tokio::spawn(write_all(write, to_write));
    tokio::spawn(async move {
        read_all(read, frames, streams).await;
        // Nobody reads on the other side any more.
        writing.abort();
    });
    opened
}

async fn write_all(mut to: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Frame>) {
    let mut writer = Writer::new();
    while let Some(mut frame) = frames.recv().await {
        if let Frame::Accept { headers, .. } = &mut frame {
            *headers = writer.write(&Headers::new()).into();
        }
        if to.write_all(&frame::write(&frame)).await.is_err() {
            return;
        }
        if frames.is_empty() && to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn read_all(
    mut from: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Frame>,
    streams: mpsc::Sender<Stream>,
) {
    let mut reading = Reading { reader: Reader::new(), open: HashMap::new(), frames, streams };
    while let Ok(frame) = frame::read(&mut from).await {
        if reading.take(frame).await.is_none() {
            return;
        }
    }
}

/// What the client has opened so far, and where its frames lead.
struct Reading {
    reader: Reader,
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    frames: mpsc::Sender<Frame>,
    streams: mpsc::Sender<Stream>,
}

impl Reading {
    /// Does what a frame says; nothing if the connection is of no more use.
    async fn take(&mut self, frame: Frame) -> Option<()> {
        match frame {
            Frame::Open { stream, headers, fin } => self.accept(stream, &headers, fin).await?,
            Frame::Data { stream, bytes, fin } => self.pass_on(stream, bytes, fin).await,
            Frame::Reset { stream } => drop(self.open.remove(&stream)),
            Frame::Ping { id } => self.frames.send(Frame::Ping { id }).await.ok()?,
            Frame::GoAway | Frame::Accept { .. } | Frame::Other => {}
        }
        Some(())
    }

    async fn accept(&mut self, stream: u32, headers: &[u8], fin: bool) -> Option<()> {
        let headers = self.reader.read(headers)?;
        let (sender, incoming) = mpsc::channel(ROOM);
        if !fin {
            self.open.insert(stream, sender);
        }
        self.frames.send(Frame::Accept { stream, headers: Bytes::new() }).await.ok()?;
        let outgoing = Sender { stream, frames: self.frames.clone() };
        self.streams.send(Stream { headers, incoming, outgoing }).await.ok()
    }

    async fn pass_on(&mut self, stream: u32, bytes: Bytes, fin: bool) {
        if let Some(sender) = self.open.get(&stream)
            && !bytes.is_empty()
        {
            // Whoever does not listen any more does not stop the others.
            let _ = sender.send(bytes).await;
        }
        if fin {
            self.open.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_accepted_and_carries_bytes_both_ways_to_its_end() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let mut opened = serve(server);
        let (mut read, mut write) = tokio::io::split(client);
        let headers = Headers::from([("streamtype".to_owned(), "data".to_owned())]);
        let block = Writer::new().write(&headers).into();
        for frame in [
            Frame::Open { stream: 1, headers: block, fin: false },
            Frame::Data { stream: 1, bytes: Bytes::from_static(b"ask"), fin: true },
            Frame::Ping { id: 9 },
        ] {
            write.write_all(&frame::write(&frame)).await.unwrap();
        }
        let mut stream = opened.recv().await.unwrap();
        assert_eq!(stream.headers, headers);
        assert_eq!(stream.incoming.recv().await.as_deref(), Some(&b"ask"[..]));
        assert_eq!(stream.incoming.recv().await, None);
        assert!(stream.outgoing.send(b"answer").await);
        stream.outgoing.finish().await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(frame::read(&mut read).await.unwrap());
        }
        assert!(seen.contains(&Frame::Ping { id: 9 }), "{seen:?}");
        assert!(
            seen.contains(&Frame::Data { stream: 1, bytes: Bytes::from_static(b"answer"), fin: false }),
            "{seen:?}"
        );
        assert_eq!(seen[3], Frame::Data { stream: 1, bytes: Bytes::new(), fin: true });
        drop((read, write));
        assert!(opened.recv().await.is_none());
        stream.outgoing.closed().await;
    }
}
