//! The comma list: `[namespace/]name[@interface]`, blanks around each part ignored (spec/multus.md 4.2).

use super::{SelectionElement, SelectionError};

/// The longest interface name that Linux knows, in bytes.
const MAX_INTERFACE: usize = 15;

pub(super) fn parse(value: &str) -> Result<Vec<SelectionElement>, SelectionError> {
    value.split(',').map(|item| element(item.trim())).collect()
}

fn element(item: &str) -> Result<SelectionElement, SelectionError> {
    let (namespace, rest) = split_once(item, item, '/')?;
    let (namespace, rest) = rest.map_or(("", namespace), |rest| (namespace, rest));
    let (name, interface) = split_once(item, rest, '@')?;
    let interface = interface.unwrap_or_default();
    let parts = [
        ("namespace", namespace, is_label as fn(&str) -> bool),
        ("network name", name, is_label),
        ("interface name", interface, is_interface),
    ];
    if let Some((part, value, _)) =
        parts.into_iter().find(|(_, value, fits)| !value.is_empty() && !fits(value))
    {
        return Err(SelectionError::Mismatch { part, value: value.to_owned(), item: item.to_owned() });
    }
    Ok(SelectionElement {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        interface: interface.to_owned(),
        ..SelectionElement::default()
    })
}

/// The two trimmed parts of `text`; more than one separator is an error.
fn split_once<'a>(
    item: &str,
    text: &'a str,
    separator: char,
) -> Result<(&'a str, Option<&'a str>), SelectionError> {
    match text.split_once(separator) {
        None => Ok((text.trim(), None)),
        Some((_, rest)) if rest.contains(separator) => {
            Err(SelectionError::Separator { separator, item: item.to_owned() })
        }
        Some((first, rest)) => Ok((first.trim(), Some(rest.trim()))),
    }
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_interface(text: &str) -> bool {
    let forbidden = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | b'/');
    text.len() <= MAX_INTERFACE && !text.bytes().any(forbidden)
}
