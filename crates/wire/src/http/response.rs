//! Reading an answer: head, then a body of stated length, in chunks, or up to the end of the connection.

use std::io::{self, Read};

use super::Answer;

/// More than any answer of the API has.
const MAX_BODY: usize = 16 << 20;
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 64;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection broke, or time ran out.
    Broken(io::Error),
    /// It is no HTTP, or too long.
    Garbled(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn garbled(why: impl ToString) -> ReadError {
    ReadError::Garbled(why.to_string())
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

struct Head {
    status: u16,
    framing: Framing,
    length: usize,
}

/// Reads one answer.
pub(super) fn read(stream: &mut impl Read) -> Result<Answer, ReadError> {
    let mut bytes = Vec::new();
    let head = loop {
        match parse_head(&bytes)? {
            Some(head) => break head,
            None if bytes.len() > MAX_HEAD => return Err(garbled("an endless head")),
            None => more(stream, &mut bytes)?,
        }
    };
    bytes.drain(..head.length);
    let body = match head.framing {
        Framing::Length(length) => of_length(stream, bytes, length)?,
        Framing::Chunked => chunked(stream, bytes)?,
        Framing::ToTheEnd => to_the_end(stream, bytes)?,
    };
    Ok(Answer { status: head.status, body })
}

/// Adds what comes next; the end of the connection is an error here.
fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
    if some(stream, bytes)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn some(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Result<usize, ReadError> {
    if bytes.len() > MAX_BODY {
        return Err(garbled(format!("more than {MAX_BODY} bytes")));
    }
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                return Ok(count);
            }
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(garbled)? else {
        return Ok(None);
    };
    let status = response.code.ok_or_else(|| garbled("no status"))?;
    let framing = if matches!(status, 204 | 304) { Framing::Length(0) } else { framing(response.headers)? };
    Ok(Some(Head { status, framing, length }))
}

fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, ReadError> {
    let find = |name: &str| headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
    if find("transfer-encoding").is_some_and(|h| h.value.eq_ignore_ascii_case(b"chunked")) {
        return Ok(Framing::Chunked);
    }
    let Some(header) = find("content-length") else { return Ok(Framing::ToTheEnd) };
    let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
    match length {
        Some(length) if length <= MAX_BODY => Ok(Framing::Length(length)),
        _ => Err(garbled("a content length that cannot be")),
    }
}

fn of_length(stream: &mut impl Read, mut bytes: Vec<u8>, length: usize) -> Result<Vec<u8>, ReadError> {
    while bytes.len() < length {
        more(stream, &mut bytes)?;
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn to_the_end(stream: &mut impl Read, mut bytes: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    while some(stream, &mut bytes)? > 0 {}
    Ok(bytes)
}

fn chunked(stream: &mut impl Read, mut bytes: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(&bytes).map_err(|_| garbled("a chunk without a size"))? {
            httparse::Status::Partial => more(stream, &mut bytes)?,
            httparse::Status::Complete((_, 0)) => return Ok(body),
            httparse::Status::Complete((start, size)) => {
                let size = usize::try_from(size).ok().filter(|size| *size <= MAX_BODY - body.len());
                let end = start + size.ok_or_else(|| garbled(format!("more than {MAX_BODY} bytes")))?;
                // The chunk is followed by a line end.
                while bytes.len() < end + 2 {
                    more(stream, &mut bytes)?;
                }
                body.extend_from_slice(&bytes[start..end]);
                bytes.drain(..end + 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives a text in pieces.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn body(text: &str, piece: usize) -> Result<(u16, String), ReadError> {
        let answer = read(&mut Pieces(text.as_bytes(), piece))?;
        Ok((answer.status, String::from_utf8(answer.body).unwrap()))
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for piece in [1, 2, 3, 7, 4096] {
            let by_length = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"ab\"rest";
            assert_eq!(body(by_length, piece).unwrap(), (200, "\"ab\"".into()));
            let chunks =
                "HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"ab\r\n1;x=y\r\n\"\r\n0\r\n\r\n";
            assert_eq!(body(chunks, piece).unwrap(), (500, "\"ab\"".into()));
            assert_eq!(body("HTTP/1.1 521 \r\n\r\nall of it", piece).unwrap(), (521, "all of it".into()));
            assert_eq!(body("HTTP/1.1 204 x\r\n\r\n", piece).unwrap(), (204, String::new()));
        }
    }

    #[test]
    fn a_broken_answer_is_an_error() {
        let cut = body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\"a", 9);
        assert!(matches!(cut, Err(ReadError::Broken(_))), "{cut:?}");
        assert!(matches!(body("", 9), Err(ReadError::Broken(_))));
        assert!(matches!(body("SSH-2.0-x\r\n\r\n", 9), Err(ReadError::Garbled(_))));
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(matches!(body(long, 9), Err(ReadError::Garbled(_))));
        let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n";
        assert!(matches!(body(chunk, 9), Err(ReadError::Garbled(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = read(&mut Pieces(&bytes, piece));
            let chunks = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &bytes].concat();
            let _ = read(&mut Pieces(&chunks, piece));
        }
    }
}
