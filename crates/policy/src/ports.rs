//! Destination ports of a rule.

use polynic_api::multi_policy::{IntOrString, Port};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;

/// One item of a rule's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortMatch {
    /// A whole protocol.
    Protocol(u8),
    /// Ports of a protocol, both ends included.
    Range { protocol: u8, first: u16, last: u16 },
    /// Whatever containers call by this name.
    Named { protocol: u8, name: String },
}

/// Protocol and, unless all of them match, ports: what a rule of nf_tables compares with.
pub(crate) type Span = (u8, Option<(u16, u16)>);

/// Number of a protocol by the name that Kubernetes has for it.
pub(crate) fn protocol(name: &str) -> Option<u8> {
    match name {
        "TCP" => Some(TCP),
        "UDP" => Some(UDP),
        "SCTP" => Some(SCTP),
        _ => None,
    }
}

impl PortMatch {
    /// Reads an item; an error says what is wrong with it.
    pub(crate) fn read(port: &Port) -> Result<Self, String> {
        let name = port.protocol.as_deref().unwrap_or("TCP");
        let protocol =
            protocol(name).ok_or_else(|| format!("unknown protocol {name:?}, want TCP, UDP or SCTP"))?;
        match (&port.port, port.end_port) {
            (None, None) => Ok(Self::Protocol(protocol)),
            (None, Some(end)) => Err(format!("endPort {end} without a port")),
            (Some(IntOrString::String(name)), None) if !name.is_empty() => {
                Ok(Self::Named { protocol, name: name.clone() })
            }
            (Some(IntOrString::String(name)), None) => Err(format!("port {name:?} is no name")),
            (Some(IntOrString::String(name)), Some(end)) => {
                Err(format!("endPort {end} needs a numeric port, not {name:?}"))
            }
            (Some(IntOrString::Int(first)), end) => {
                let (first, last) = (number(*first)?, number(end.unwrap_or(*first))?);
                if first > last {
                    return Err(format!("endPort {last} is below port {first}"));
                }
                Ok(Self::Range { protocol, first, last })
            }
        }
    }
}

fn number(port: i64) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| format!("{port} is no port"))
}

/// Spans that match the same, but neither overlap nor touch.
pub(crate) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    // A whole protocol sorts before its ports.
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (protocol, ports) in spans {
        let last = merged.last_mut().filter(|(of, _)| *of == protocol);
        match (last, ports) {
            (Some((_, None)), _) => {}
            (Some((_, Some(before))), Some((first, last))) if first <= before.1.saturating_add(1) => {
                before.1 = before.1.max(last);
            }
            (_, ports) => merged.push((protocol, ports)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        protocol: Option<&str>,
        port: Option<IntOrString>,
        end_port: Option<i64>,
    ) -> Result<PortMatch, String> {
        PortMatch::read(&Port { protocol: protocol.map(str::to_owned), port, end_port })
    }

    #[test]
    fn items_are_read_and_what_is_wrong_is_named() {
        use IntOrString::{Int, String};
        let range = |first, last| Ok(PortMatch::Range { protocol: UDP, first, last });
        assert_eq!(read(None, None, None), Ok(PortMatch::Protocol(TCP)));
        assert_eq!(read(Some("SCTP"), None, None), Ok(PortMatch::Protocol(SCTP)));
        assert_eq!(read(Some("UDP"), Some(Int(53)), None), range(53, 53));
        assert_eq!(read(Some("UDP"), Some(Int(5000)), Some(5010)), range(5000, 5010));
        let named = PortMatch::Named { protocol: TCP, name: "web".into() };
        assert_eq!(read(None, Some(String("web".into())), None), Ok(named));
        for (wrong, sign) in [
            (read(Some("tcp"), None, None), "protocol"),
            (read(None, None, Some(9)), "without a port"),
            (read(None, Some(String("web".into())), Some(9)), "numeric"),
            (read(None, Some(Int(10)), Some(9)), "below"),
            (read(None, Some(Int(0)), None), "no port"),
            (read(None, Some(Int(70_000)), None), "no port"),
        ] {
            assert!(wrong.clone().unwrap_err().contains(sign), "{wrong:?}");
        }
    }

    #[test]
    fn spans_are_merged_within_a_protocol() {
        let spans = vec![
            (UDP, Some((5, 9))),
            (TCP, Some((80, 80))),
            (UDP, Some((10, 12))),
            (UDP, Some((20, 21))),
            (TCP, None),
            (UDP, Some((6, 7))),
            (UDP, Some((65_535, 65_535))),
            (UDP, Some((65_000, 65_535))),
        ];
        let expected =
            [(TCP, None), (UDP, Some((5, 12))), (UDP, Some((20, 21))), (UDP, Some((65_000, 65_535)))];
        assert_eq!(merged(spans), expected);
    }
}
