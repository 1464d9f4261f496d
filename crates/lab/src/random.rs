//! Random identifiers, in the forms that container runtimes give theirs.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Error, Result};

fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(Error::sys("read random bytes"))?;
    Ok(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `2 * len` hexadecimal digits, of at most 32 bytes.
pub fn hex(len: usize) -> Result<String> {
    Ok(to_hex(&bytes::<32>()?[..len.min(32)]))
}

/// A random UUID (RFC 9562, version 4).
pub fn uuid() -> Result<String> {
    let mut bytes = bytes::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = to_hex(&bytes);
    Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_version_and_variant() {
        let id = uuid().unwrap();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, uuid().unwrap());
    }
}
