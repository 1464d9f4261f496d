//! Options of messages: codes, values, and how both stand in a message.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Numbers of options (RFC 2132; 121: RFC 3442).
pub mod code {
    /// Mask of the network.
    pub const SUBNET_MASK: u8 = 1;
    /// Gateways.
    pub const ROUTERS: u8 = 3;
    /// The client's name.
    pub const HOST_NAME: u8 = 12;
    /// Routes by class.
    pub const STATIC_ROUTES: u8 = 33;
    /// The address that the client wants.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Seconds for which the address is the client's.
    pub const LEASE_TIME: u8 = 51;
    /// Which fields of the header hold further options.
    pub const OVERLOAD: u8 = 52;
    /// What the message is.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Which server is meant, or answers.
    pub const SERVER: u8 = 54;
    /// What the client would like to know.
    pub const PARAMETERS: u8 = 55;
    /// Why a server refuses.
    pub const TEXT: u8 = 56;
    /// The longest message that the client takes.
    pub const LONGEST: u8 = 57;
    /// Seconds after which the client asks its server again.
    pub const T1: u8 = 58;
    /// Seconds after which the client asks every server.
    pub const T2: u8 = 59;
    /// What kind of client it is.
    pub const VENDOR_CLASS: u8 = 60;
    /// Who the client is.
    pub const CLIENT: u8 = 61;
    /// What kind of user it has.
    pub const USER_CLASS: u8 = 77;
    /// Routes by prefix.
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// The last one.
    pub const END: u8 = 255;
}

const PAD: u8 = 0;
/// The most that one option holds; longer values continue in another of the same code (RFC 3396).
const LONGEST_PART: usize = 255;

/// Options by their codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// Sets an option, whatever it was.
    pub fn set(&mut self, code: u8, value: Vec<u8>) {
        self.0.insert(code, value);
    }

    /// The value of an option.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// A value that begins with an address.
    pub fn ip(&self, code: u8) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(*self.get(code)?.first_chunk::<4>()?))
    }

    /// A value of four bytes.
    pub fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        // What a message is comes first: some servers look no further.
        let mut ordered: Vec<(&u8, &Vec<u8>)> = self.0.iter().collect();
        ordered.sort_by_key(|(code, _)| **code != code::MESSAGE_TYPE);
        for (code, value) in ordered {
            let empty = value.is_empty().then_some(&[][..]);
            for part in empty.into_iter().chain(value.chunks(LONGEST_PART)) {
                // A part has at most 255 bytes.
                bytes.extend([*code, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(code::END);
    }

    /// From the field of options and, where these say so, the fields `file` and `sname`. What is cut off is not there.
    pub(crate) fn decode(options: &[u8], file: &[u8], sname: &[u8]) -> Self {
        let mut read = Self::default();
        read.extend(options);
        let overload = read.0.remove(&code::OVERLOAD).and_then(|v| v.first().copied()).unwrap_or_default();
        // Only the first 128 bytes after `sname` are `file`.
        if overload & 1 != 0 {
            read.extend(file.get(..128).unwrap_or(file));
        }
        if overload & 2 != 0 {
            read.extend(sname);
        }
        read
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        loop {
            match bytes {
                [PAD, rest @ ..] => bytes = rest,
                [code, length, rest @ ..] if *code != code::END => {
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                    self.0.entry(*code).or_default().extend(value);
                    bytes = rest;
                }
                _ => return,
            }
        }
    }
}

/// The code that a configuration means by a name or a decimal number.
pub fn named(name: &str) -> Option<u8> {
    Some(match name {
        "dhcp-client-identifier" => code::CLIENT,
        "subnet-mask" => code::SUBNET_MASK,
        "routers" => code::ROUTERS,
        "host-name" => code::HOST_NAME,
        "user-class" => code::USER_CLASS,
        "vendor-class-identifier" => code::VENDOR_CLASS,
        number => number.parse().ok()?,
    })
}
