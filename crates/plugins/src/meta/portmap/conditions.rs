//! `conditionsV4` and `conditionsV6`: further matches, in the words of iptables or of nft. What of them can be expressed is read;
//! anything else is refused by name.

use std::net::IpAddr;

use polynic_net::{Family, FwExpr, IpNet};

/// Whether a list is in the syntax of iptables.
pub(super) fn are_iptables(list: &[String]) -> bool {
    list.first().is_some_and(|word| word.starts_with('-') || word.starts_with('!'))
}

/// Reads the conditions of a family.
pub(super) fn read(list: &[String], family: Family) -> Result<Vec<FwExpr>, String> {
    let joined = list.join(" ");
    let mut words = joined.split_whitespace();
    let one = if are_iptables(list) { iptables } else { nftables };
    let mut exprs = Vec::new();
    while let Some(word) = words.next() {
        exprs.extend(one(word, &mut words, family)?);
    }
    Ok(exprs)
}

type Words<'a> = std::str::SplitWhitespace<'a>;

fn value<'a>(words: &mut Words<'a>, after: &str) -> Result<&'a str, String> {
    words.next().ok_or_else(|| format!("{after} needs a value"))
}

fn iptables(word: &str, words: &mut Words<'_>, family: Family) -> Result<Option<FwExpr>, String> {
    let (not, option) = if word == "!" { (true, value(words, word)?) } else { (false, word) };
    let argument = value(words, option)?;
    Ok(match option {
        "-s" | "--source" | "--src" => Some(FwExpr::Src { net: network(argument, family)?, not }),
        "-d" | "--destination" | "--dst" => Some(FwExpr::Dst { net: network(argument, family)?, not }),
        // What iptables writes with a plus, nf_tables writes with a star.
        "-i" | "--in-interface" => Some(incoming(argument.replace('+', "*"), not)),
        "--mark" if !not => Some(mark(argument)?),
        "-m" | "--match" if ["mark", "comment"].contains(&argument) => None,
        "--comment" => None,
        _ => {
            return Err(format!(
                "{option} is not supported here; what is: -s, -d, -i (each also with !), -m mark --mark and -m comment"
            ));
        }
    })
}

fn nftables(word: &str, words: &mut Words<'_>, family: Family) -> Result<Option<FwExpr>, String> {
    let word = if word == "meta" { value(words, word)? } else { word };
    let field = match word {
        "ip" | "ip6" => format!("{word} {}", value(words, word)?),
        _ => word.to_owned(),
    };
    let (not, argument) = match value(words, &field)? {
        "!=" => (true, value(words, &field)?),
        "==" => (false, value(words, &field)?),
        argument => (false, argument),
    };
    let own = if family == Family::V4 { "ip" } else { "ip6" };
    Ok(Some(match field.strip_prefix(own).unwrap_or(&field) {
        " saddr" => FwExpr::Src { net: network(argument, family)?, not },
        " daddr" => FwExpr::Dst { net: network(argument, family)?, not },
        "iifname" | "iif" => incoming(argument.trim_matches('"').to_owned(), not),
        "mark" if !not => mark(argument)?,
        _ => {
            return Err(format!(
                "\"{field}\" is not supported here; what is: {own} saddr, {own} daddr, iifname (each also with !=) and mark"
            ));
        }
    }))
}

fn network(text: &str, family: Family) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    let net = net.filter(|net| Family::of(net.addr()) == family);
    net.ok_or_else(|| format!("{text:?} is no {family} address or network"))
}

fn incoming(link: String, not: bool) -> FwExpr {
    if not { FwExpr::NotIif(link) } else { FwExpr::Iif(link) }
}

/// `VALUE` or `VALUE/MASK`, in decimal or hexadecimal.
fn mark(text: &str) -> Result<FwExpr, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let read = number(value).zip(number(mask)).map(|(value, mask)| FwExpr::Mark { value, mask });
    read.ok_or_else(|| format!("{text:?} is no mark"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn both_languages_say_the_same() {
        for (iptables, nftables) in [
            ("! -d 192.0.2.0/24 -s 10.0.0.1", "ip daddr != 192.0.2.0/24 ip saddr 10.0.0.1"),
            ("-i eth+ -m mark --mark 0x10/0xff", "iifname \"eth*\" mark 16/255"),
            ("-m comment --comment x ! -i lo", "meta iifname != lo"),
        ] {
            let read = |text| read(&words(text), Family::V4).unwrap();
            assert_eq!(read(iptables), read(nftables), "{iptables}");
            assert!(!read(iptables).is_empty());
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, why) in [
            ("-m owner --uid-owner 0", "-m is not supported"),
            ("-d", "-d needs a value"),
            ("-s fd00::/8", "is no IPv4 address"),
            ("ip6 saddr fd00::/8", "\"ip6 saddr\" is not supported"),
            ("ip saddr {", "is no IPv4 address"),
            ("tcp dport 80", "\"tcp\" is not supported"),
            ("! --mark 1", "--mark is not supported"),
            ("--mark x", "is no mark"),
        ] {
            let error = read(&words(text), Family::V4).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_without_panic(list: Vec<String>) {
            let _ = read(&list, Family::V6);
        }
    }
}
