//! Messages of D-Bus as bytes (D-Bus specification, "Message Protocol").

use super::BusError;

/// Bytes of the fixed part of a message, with the length of the fields that follow.
pub(crate) const HEAD: usize = 16;

const LITTLE_ENDIAN: u8 = b'l';
const BIG_ENDIAN: u8 = b'B';
const PROTOCOL: u8 = 1;
const METHOD_CALL: u8 = 1;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Whom to call.
pub(crate) struct Method<'a> {
    /// The service.
    pub(crate) destination: &'a str,
    /// Its object.
    pub(crate) path: &'a str,
    /// The object's interface.
    pub(crate) interface: &'a str,
    /// The method.
    pub(crate) member: &'a str,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Return,
    Error,
    Other,
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reply_to: Option<u32>,
    pub(super) error: String,
    pub(super) body: Body,
}

/// The values of a message.
#[derive(Debug)]
pub(crate) struct Body {
    little: bool,
    signature: String,
    bytes: Vec<u8>,
}

impl Body {
    /// The only value, a truth.
    pub(crate) fn bool(&self) -> Result<bool, BusError> {
        let value = Reader { little: self.little, bytes: &self.bytes, at: 0 }.number();
        let value = value.filter(|_| self.signature == "b");
        value.map(|number| number != 0).ok_or(BusError::Malformed("a truth was asked for"))
    }

    /// The first value, a text; none if it is something else.
    pub(crate) fn text(&self) -> Option<String> {
        let reader = &mut Reader { little: self.little, bytes: &self.bytes, at: 0 };
        self.signature.starts_with('s').then(|| reader.text())?
    }
}

/// A call as bytes.
pub(super) fn call(serial: u32, method: &Method<'_>, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|argument| put_text(&mut body, argument));
    let mut fields = Vec::new();
    for (code, kind, value) in [
        (PATH, b'o', method.path),
        (DESTINATION, b's', method.destination),
        (INTERFACE, b's', method.interface),
        (MEMBER, b's', method.member),
    ] {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        put_text(&mut fields, value);
    }
    if !arguments.is_empty() {
        pad(&mut fields, 8);
        fields.extend([SIGNATURE, 1, b'g', 0]);
        put_signature(&mut fields, &"s".repeat(arguments.len()));
    }
    let mut bytes = vec![LITTLE_ENDIAN, METHOD_CALL, 0, PROTOCOL];
    for number in [body.len(), serial as usize, fields.len()] {
        put_number(&mut bytes, number);
    }
    bytes.extend(fields);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

/// Texts of a call are names and addresses: nothing near four gigabytes.
fn put_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    put_number(bytes, text.len());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn put_signature(bytes: &mut Vec<u8>, signature: &str) {
    bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
    bytes.extend(signature.as_bytes());
    bytes.push(0);
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// How many bytes follow the head; none if it is no head.
pub(super) fn length(head: &[u8; HEAD]) -> Option<usize> {
    let (body, fields) = lengths(head)?;
    fields.checked_next_multiple_of(8)?.checked_add(body)
}

fn lengths(head: &[u8; HEAD]) -> Option<(usize, usize)> {
    let little = is_little(head[0])?;
    let number = |at| Reader { little, bytes: head, at }.number();
    Some((usize::try_from(number(4)?).ok()?, usize::try_from(number(12)?).ok()?))
}

fn is_little(mark: u8) -> Option<bool> {
    match mark {
        LITTLE_ENDIAN => Some(true),
        BIG_ENDIAN => Some(false),
        _ => None,
    }
}

/// Reads what [`length`] announced.
pub(super) fn parse(head: &[u8; HEAD], rest: &[u8]) -> Option<Message> {
    let little = is_little(head[0])?;
    let (body, fields) = lengths(head)?;
    let start = fields.checked_next_multiple_of(8)?;
    let kind = match head[1] {
        2 => Kind::Return,
        3 => Kind::Error,
        _ => Kind::Other,
    };
    let bytes = rest.get(start..start.checked_add(body)?)?.to_vec();
    let body = Body { little, signature: String::new(), bytes };
    let mut message = Message { kind, reply_to: None, error: String::new(), body };
    let mut reader = Reader { little, bytes: rest.get(..fields)?, at: 0 };
    while reader.at < fields {
        read_field(&mut reader, &mut message)?;
    }
    Some(message)
}

fn read_field(reader: &mut Reader<'_>, message: &mut Message) -> Option<()> {
    reader.align(8);
    let code = reader.byte()?;
    match (code, reader.signature()?.as_str()) {
        (REPLY_SERIAL, "u") => message.reply_to = Some(reader.number()?),
        (ERROR_NAME, "s") => message.error = reader.text()?,
        (SIGNATURE, "g") => message.body.signature = reader.signature()?,
        (_, "u") => drop(reader.number()?),
        (_, "s" | "o") => drop(reader.text()?),
        (_, "g") => drop(reader.signature()?),
        _ => return None,
    }
    Some(())
}

struct Reader<'a> {
    little: bool,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        let little = self.little;
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// Text of this length and the zero after it.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.byte()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Method<'static> {
        Method { destination: "org.x", path: "/x", interface: "org.x.I", member: "Do" }
    }

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let bytes = call(7, &hello(), &["ab", "c"]);
        let expected: &[&[u8]] = &[
            b"l\x01\x00\x01\x0e\x00\x00\x00\x07\x00\x00\x00\x48\x00\x00\x00",
            b"\x01\x01o\x00\x02\x00\x00\x00/x\x00\x00\x00\x00\x00\x00",
            b"\x06\x01s\x00\x05\x00\x00\x00org.x\x00\x00\x00",
            b"\x02\x01s\x00\x07\x00\x00\x00org.x.I\x00",
            b"\x03\x01s\x00\x02\x00\x00\x00Do\x00\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x02ss\x00",
            b"\x02\x00\x00\x00ab\x00\x00\x01\x00\x00\x00c\x00",
        ];
        assert_eq!(bytes, expected.concat());
        let head: [u8; HEAD] = bytes[..HEAD].try_into().unwrap();
        assert_eq!(length(&head), Some(bytes.len() - HEAD));
    }

    /// What a service answers, in either order of bytes.
    fn answer(little: bool, kind: u8, body: &[u8], signature: &str) -> Vec<u8> {
        let number = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut fields = vec![REPLY_SERIAL, 1, b'u', 0];
        fields.extend(number(7));
        fields.extend([ERROR_NAME, 1, b's', 0]);
        fields.extend(number(2));
        fields.extend(b"e.\0");
        pad(&mut fields, 8);
        fields.extend([SIGNATURE, 1, b'g', 0]);
        put_signature(&mut fields, signature);
        let mut bytes = vec![if little { b'l' } else { b'B' }, kind, 0, 1];
        for n in [body.len(), 99, fields.len()] {
            bytes.extend(number(u32::try_from(n).unwrap()));
        }
        bytes.extend(fields);
        pad(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    fn parsed(bytes: &[u8]) -> Message {
        let head: [u8; HEAD] = bytes[..HEAD].try_into().unwrap();
        assert_eq!(length(&head), Some(bytes.len() - HEAD));
        parse(&head, &bytes[HEAD..]).unwrap()
    }

    #[test]
    fn answers_are_read_in_both_orders_of_bytes() {
        for little in [true, false] {
            let one = if little { 1_u32.to_le_bytes() } else { 1_u32.to_be_bytes() };
            let message = parsed(&answer(little, 2, &one, "b"));
            assert_eq!((message.kind, message.reply_to), (Kind::Return, Some(7)));
            assert!(message.body.bool().unwrap());
            assert_eq!(message.body.text(), None);
            let text = [&one[..], b"x\0"].concat();
            let message = parsed(&answer(little, 3, &text, "s"));
            assert_eq!((message.kind, message.error.as_str()), (Kind::Error, "e."));
            assert_eq!(message.body.text(), Some("x".to_owned()));
            assert!(message.body.bool().is_err());
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_gets_an_answer() {
        let whole = answer(true, 3, b"\x01\0\0\0x\0", "s");
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let head: [u8; HEAD] = bytes[..HEAD].try_into().unwrap();
                let message = length(&head).and_then(|_| parse(&head, &bytes[HEAD..]));
                let _ = message.map(|message| (message.body.text(), message.body.bool().is_ok()));
            }
            let _ = parse(&whole[..HEAD].try_into().unwrap(), whole.get(HEAD..at).unwrap_or_default());
        }
    }
}
