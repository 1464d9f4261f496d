//! Frames (SPDY/3, section 2.2): control frames about streams, and data of streams.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest frame that is taken.
const LARGEST: usize = 1 << 20;
const VERSION: u16 = 3;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// A frame, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A stream begins; `headers` are compressed still. With `fin`, the client sends nothing on it.
    Open { stream: u32, headers: Bytes, fin: bool },
    /// A stream is accepted.
    Accept { stream: u32, headers: Bytes },
    /// A stream ends at once, both ways.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping { id: u32 },
    /// The other side opens no more streams.
    GoAway,
    /// Bytes of a stream; with `fin` the last ones of this direction.
    Data { stream: u32, bytes: Bytes, fin: bool },
    /// Settings, windows and what else does not matter.
    Other,
}

/// Reads the next frame.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 8];
    from.read_exact(&mut head).await?;
    let [a, b, c, d, flags, e, f, g] = head;
    let length = u32::from_be_bytes([0, e, f, g]) as usize;
    if length > LARGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    let (bytes, fin) = (Bytes::from(bytes), flags & FIN != 0);
    if a & 0x80 == 0 {
        return Ok(Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), bytes, fin });
    }
    Ok(control(u16::from_be_bytes([c, d]), bytes, fin))
}

fn control(kind: u16, mut bytes: Bytes, fin: bool) -> Frame {
    let number = bytes.first_chunk::<4>().map(|first| u32::from_be_bytes(*first) & 0x7fff_ffff);
    match (kind, number) {
        (SYN_STREAM, Some(stream)) if bytes.len() >= 10 => {
            Frame::Open { stream, headers: bytes.split_off(10), fin }
        }
        (RST_STREAM, Some(stream)) => Frame::Reset { stream },
        // An id may have any bits.
        (PING, Some(_)) => {
            Frame::Ping { id: bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first)) }
        }
        (GOAWAY, _) => Frame::GoAway,
        _ => Frame::Other,
    }
}

/// The bytes of a frame.
pub fn write(frame: &Frame) -> Vec<u8> {
    let number = |number: u32| number.to_be_bytes().to_vec();
    match frame {
        Frame::Data { stream, bytes, fin } => with_head(stream.to_be_bytes(), u8::from(*fin), bytes),
        Frame::Accept { stream, headers } => {
            about(SYN_REPLY, 0, &[number(*stream), headers.to_vec()].concat())
        }
        Frame::Open { stream, headers, fin } => {
            about(SYN_STREAM, u8::from(*fin), &[number(*stream), vec![0; 6], headers.to_vec()].concat())
        }
        // 5: cancel.
        Frame::Reset { stream } => about(RST_STREAM, 0, &[number(*stream), number(5)].concat()),
        Frame::Ping { id } => about(PING, 0, &number(*id)),
        Frame::GoAway | Frame::Other => about(GOAWAY, 0, &[number(0), number(0)].concat()),
    }
}

fn about(kind: u16, flags: u8, content: &[u8]) -> Vec<u8> {
    let [a, b] = (VERSION | 0x8000).to_be_bytes();
    let [c, d] = kind.to_be_bytes();
    with_head([a, b, c, d], flags, content)
}

fn with_head(first: [u8; 4], flags: u8, content: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
    [&first[..], &[flags, a, b, c], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_are_written() {
        let bytes = Bytes::from_static(b"hello");
        for frame in [
            Frame::Open { stream: 1, headers: bytes.clone(), fin: true },
            Frame::Data { stream: 3, bytes: bytes.clone(), fin: false },
            Frame::Data { stream: 3, bytes: Bytes::new(), fin: true },
            Frame::Reset { stream: 5 },
            Frame::Ping { id: 7 },
            Frame::GoAway,
        ] {
            let written = write(&frame);
            assert_eq!(read(&mut written.as_slice()).await.unwrap(), frame);
        }
    }

    #[test]
    fn a_reply_is_a_control_frame_of_version_three() {
        let frame = Frame::Accept { stream: 1, headers: Bytes::from_static(b"x") };
        assert_eq!(write(&frame), [0x80, 3, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, b'x']);
    }

    #[tokio::test]
    async fn a_frame_that_claims_to_be_huge_is_refused() {
        let head = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(read(&mut head.as_slice()).await.is_err());
    }
}
