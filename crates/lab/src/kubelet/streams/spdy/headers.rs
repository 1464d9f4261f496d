//! Headers: names and values, compressed with a dictionary and with a memory of all headers before (SPDY/3, section 2.6.10).

use std::collections::BTreeMap;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Names to values.
pub type Headers = BTreeMap<String, String>;

/// The largest block, uncompressed, that is looked at.
const LARGEST: usize = 64 << 10;
/// The dictionary's words, each of which stands there behind its length in four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
    authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 \
    content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since \
    last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
    transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public \
    set-cookie keep-alive origin";
/// What follows the words.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec \
    00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS.split_whitespace().map(|word| word.replace('_', " ")) {
        put(&mut bytes, &word);
    }
    bytes.extend_from_slice(REST.as_bytes());
    bytes
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads the blocks of one side of a connection, in their order.
pub struct Reader {
    inflate: Decompress,
    dictionary: Vec<u8>,
}

impl Reader {
    /// At the beginning of a connection.
    pub fn new() -> Reader {
        Reader { inflate: Decompress::new(true), dictionary: dictionary() }
    }

    /// The headers in a block; none if it is broken.
    pub fn read(&mut self, block: &[u8]) -> Option<Headers> {
        parse(&self.expand(block)?)
    }

    fn expand(&mut self, mut block: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(LARGEST);
        while !block.is_empty() && out.len() < LARGEST {
            let before = self.inflate.total_in();
            let done = self.inflate.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.inflate.total_in() - before).ok()?;
            block = block.get(used..)?;
            match done {
                Ok(Status::Ok) => {}
                Ok(Status::BufError | Status::StreamEnd) => break,
                Err(why) if why.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&self.dictionary).ok()?;
                }
                Err(_) => return None,
            }
        }
        Some(out)
    }
}

fn parse(mut bytes: &[u8]) -> Option<Headers> {
    let count = number(&mut bytes)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut bytes)?.to_ascii_lowercase();
        headers.insert(name, text(&mut bytes)?);
    }
    Some(headers)
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*first)).ok()
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// Writes the blocks of one side of a connection.
pub struct Writer(Compress);

impl Writer {
    /// At the beginning of a connection.
    pub fn new() -> Writer {
        let mut deflate = Compress::new(Compression::default(), true);
        // Nothing has been compressed yet, which is the only case in which this could fail.
        let _ = deflate.set_dictionary(&dictionary());
        Writer(deflate)
    }

    /// A block with these headers.
    pub fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = u32::try_from(headers.len()).unwrap_or_default().to_be_bytes().to_vec();
        for (name, value) in headers {
            put(&mut plain, name);
            put(&mut plain, value);
        }
        let mut out = Vec::with_capacity(plain.len() + 128);
        // The room is enough for whatever deflate makes of it.
        let _ = self.0.compress_vec(&plain, &mut out, FlushCompress::Sync);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        let bytes = dictionary();
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        // The Adler checksum by which zlib streams name it.
        assert_eq!((bytes.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    proptest! {
        #[test]
        fn what_one_side_writes_the_other_reads(all in proptest::collection::vec(proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{0,40}", 0..5), 1..5)) {
            let (mut writer, mut reader) = (Writer::new(), Reader::new());
            for headers in all {
                let block = writer.write(&headers);
                prop_assert_eq!(reader.read(&block), Some(headers));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Reader::new().read(&bytes);
            let _ = parse(&bytes);
        }
    }
}
