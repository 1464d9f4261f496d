//! The operations of a rule (include/uapi/linux/netfilter/nf_tables.h).

use polynic_net::FwVerdict;
use polynic_net::stack::{SeenOp, VERDICT_REGISTER};

use super::big;
use crate::netlink::attrs::{self, Attrs};

/// Value and verdict in nested data.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;

/// One operation, or its name where it is not understood.
pub(super) fn op(expression: Attrs<'_>) -> SeenOp {
    let name = expression.get(1).and_then(attrs::text).unwrap_or("?");
    read(name, expression.nested(2)).unwrap_or_else(|| SeenOp::Unknown(name.to_owned()))
}

fn read(name: &str, data: Attrs<'_>) -> Option<SeenOp> {
    let number = |kind| data.get(kind).and_then(big);
    let size = |kind| number(kind).map(|n| n as usize);
    let reg = |kind| number(kind).and_then(register);
    let value = |kind| data.nested(kind).get(DATA_VALUE).map(<[u8]>::to_vec);
    Some(match name {
        "payload" if data.get(5).is_none() => {
            SeenOp::Payload { base: number(2)?, offset: size(3)?, len: size(4)?, to: reg(1)? }
        }
        "meta" => match reg(3) {
            Some(from) => SeenOp::SetMeta { key: number(2)?, from },
            None => SeenOp::Meta { key: number(2)?, to: reg(1)? },
        },
        "ct" => match reg(4) {
            Some(from) => SeenOp::SetCt { key: number(2)?, from },
            None => {
                let direction = data.get(3).and_then(|bytes| bytes.first().copied());
                SeenOp::Ct { key: number(2)?, direction, to: reg(1)? }
            }
        },
        "fib" => SeenOp::Fib { result: number(2)?, flags: number(3)?, to: reg(1)? },
        "bitwise" if number(6).unwrap_or_default() == 0 && data.get(4).is_some() => {
            SeenOp::Bitwise { from: reg(1)?, to: reg(2)?, mask: value(4)?, xor: value(5)? }
        }
        "cmp" => SeenOp::Cmp { op: number(2)?, from: reg(1)?, value: value(3)? },
        "range" => SeenOp::Range { not: number(2)? == 1, from: reg(1)?, first: value(3)?, last: value(4)? },
        "lookup" => SeenOp::Lookup {
            set: data.get(1).and_then(attrs::text)?.to_owned(),
            from: reg(2)?,
            to: number(3).and_then(destination),
            not: number(5).unwrap_or_default() & 1 != 0,
        },
        "immediate" => match verdict(data.nested(2)) {
            Some(verdict) => SeenOp::Verdict(verdict),
            None => SeenOp::Immediate { to: reg(1)?, value: value(2)? },
        },
        "nat" => SeenOp::Nat { source: number(1)? == 0, address: reg(3), port: reg(5) },
        "masq" => SeenOp::Masquerade,
        "redir" => SeenOp::Redirect,
        "reject" => SeenOp::Reject,
        "numgen" => SeenOp::Number { modulus: number(2)?, to: reg(1)? },
        "counter" | "log" | "last" | "objref" => SeenOp::Harmless,
        "match" | "target" => extension(name, data)?,
        _ => return None,
    })
}

/// What iptables' own modules say that changes nothing, or is the same as an operation of nf_tables.
fn extension(what: &str, data: Attrs<'_>) -> Option<SeenOp> {
    let name = data.get(1).and_then(attrs::text)?;
    Some(match (what, name) {
        ("match", "comment") | ("target", "LOG" | "NFLOG") => SeenOp::Harmless,
        ("target", "MASQUERADE") => SeenOp::Masquerade,
        ("target", "REJECT") => SeenOp::Reject,
        ("target", "REDIRECT") => SeenOp::Redirect,
        _ => SeenOp::Unknown(format!("iptables' {what} {name}")),
    })
}

/// The verdict in a `NFTA_DATA_VERDICT`, or in a map's element.
pub(super) fn verdict(data: Attrs<'_>) -> Option<FwVerdict> {
    let verdict = data.nested(DATA_VERDICT);
    let chain = || verdict.get(2).and_then(attrs::text).map(str::to_owned);
    Some(match verdict.get(1).and_then(big)?.cast_signed() {
        0 => FwVerdict::Drop,
        1 => FwVerdict::Accept,
        -3 => FwVerdict::Jump(chain()?),
        -4 => FwVerdict::Goto(chain()?),
        -5 => FwVerdict::Return,
        _ => return None,
    })
}

/// Registers come in two numberings over the same 64 bytes: four of 16 bytes from 1, sixteen of 4 bytes from 8.
fn register(number: u32) -> Option<usize> {
    match number {
        1..=4 => Some((number as usize - 1) * 16),
        8..=23 => Some((number as usize - 8) * 4),
        _ => None,
    }
}

fn destination(number: u32) -> Option<usize> {
    if number == 0 { Some(VERDICT_REGISTER) } else { register(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_numberings_of_registers_mean_the_same_bytes() {
        assert_eq!((register(1), register(8)), (Some(0), Some(0)));
        assert_eq!((register(2), register(12)), (Some(16), Some(16)));
        assert_eq!((register(0), register(24)), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = op(Attrs::new(&bytes));
            for name in ["payload", "meta", "ct", "fib", "bitwise", "cmp", "range", "lookup", "immediate", "nat", "match"] {
                let _ = read(name, Attrs::new(&bytes));
            }
        }
    }
}
