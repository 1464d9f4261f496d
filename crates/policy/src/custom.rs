//! Rules that an operator adds to what policies say, in the words of `nft`, one a line (spec/multi-networkpolicy.md 5).
//!
//! What is understood is what `nft` would make of it; any other word is refused with the place where it stands. Nothing is guessed, because a
//! rule that is left out or bent opens or shuts more than its author meant.

use std::ops::RangeInclusive;

use polynic_net::{Family, FwExpr, FwVerdict, IpNet};

/// Rules of a direction, in the order of their lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomRules(pub(crate) Vec<Vec<FwExpr>>);

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CustomRuleError {
    /// Its number, from 1.
    pub line: usize,
    /// What of it.
    pub what: String,
}

impl CustomRules {
    /// Reads the text of a file. Empty lines and what follows a `#` say nothing.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, CustomRuleError> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = Words::of(line);
            if !words.is_at_end() {
                rules.extend(words.rule().map_err(|what| CustomRuleError { line: at + 1, what })?);
            }
        }
        Ok(Self(rules))
    }

    /// These, and behind them others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// The words of one line.
struct Words {
    left: Vec<String>,
}

impl Words {
    /// Commas, braces and the sign of negation stand alone.
    fn of(line: &str) -> Self {
        let apart = ["{", "}", ",", "!="]
            .iter()
            .fold(line.to_owned(), |line, sign| line.replace(sign, &format!(" {sign} ")));
        Self { left: apart.split_whitespace().rev().map(str::to_owned).collect() }
    }

    fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    fn next(&mut self) -> Result<String, String> {
        self.left.pop().ok_or_else(|| "it ends where more is needed".to_owned())
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_it = self.left.last().is_some_and(|next| next == word);
        if is_it {
            self.left.pop();
        }
        is_it
    }

    /// The rules that a line comes to: one for each combination of the members of its sets.
    fn rule(&mut self) -> Result<Vec<Vec<FwExpr>>, String> {
        let mut rules = vec![Vec::new()];
        loop {
            let word = self.next()?;
            let verdict = match word.as_str() {
                "accept" => FwVerdict::Accept,
                "drop" => FwVerdict::Drop,
                word => {
                    let ways = self.matches(word)?;
                    let combine = |rule: &Vec<FwExpr>| {
                        ways.iter().map(|way| [rule.as_slice(), way].concat()).collect::<Vec<_>>()
                    };
                    rules = rules.iter().flat_map(combine).collect();
                    continue;
                }
            };
            if !self.is_at_end() {
                return Err(format!("{word:?} must be its last word"));
            }
            rules.iter_mut().for_each(|rule| rule.push(FwExpr::Verdict(verdict.clone())));
            return Ok(rules);
        }
    }

    /// What one match comes to: ways in which it can hold.
    fn matches(&mut self, word: &str) -> Result<Vec<Vec<FwExpr>>, String> {
        match word {
            "iifname" => self.each(|name| Ok(vec![FwExpr::Iif(unquoted(name)?)])),
            "oifname" => self.each(|name| Ok(vec![FwExpr::Oif(unquoted(name)?)])),
            "ip" | "ip6" => self.address(if word == "ip" { Family::V4 } else { Family::V6 }),
            "tcp" | "udp" | "sctp" => {
                let protocol = protocol(word)?;
                self.expect("dport")?;
                self.each(|ports| {
                    let range = range(ports, |port| port.parse::<u16>().ok())?;
                    Ok(vec![
                        FwExpr::Protocol(protocol),
                        FwExpr::DstPorts { first: *range.start(), last: *range.end() },
                    ])
                })
            }
            "icmp" | "icmpv6" => {
                self.expect("type")?;
                self.each(|kind| icmp(word, kind))
            }
            "meta" => {
                self.expect("l4proto")?;
                self.each(|name| Ok(vec![FwExpr::Protocol(protocol(name)?)]))
            }
            "ct" => self.state(),
            other => Err(format!("{other:?} is not understood here")),
        }
    }

    fn address(&mut self, family: Family) -> Result<Vec<Vec<FwExpr>>, String> {
        let side = self.next()?;
        let end = |net, not| match side.as_str() {
            "saddr" => Ok(vec![FwExpr::Src { net, not }]),
            "daddr" => Ok(vec![FwExpr::Dst { net, not }]),
            other => Err(format!("{other:?} is not understood here")),
        };
        if self.takes("!=") {
            let word = self.next()?;
            return Ok(vec![end(network(&word, family)?, true)?]);
        }
        self.each(|word| end(network(word, family)?, false))
    }

    /// Only what begins nothing new can be told apart here.
    fn state(&mut self) -> Result<Vec<Vec<FwExpr>>, String> {
        self.expect("state")?;
        let mut states = self.members()?;
        states.sort();
        match states.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["established", "related"] => Ok(vec![vec![FwExpr::KnownConnection]]),
            ["new"] => Ok(vec![vec![FwExpr::NewConnection]]),
            _ => Err("of ct state, \"established,related\" and \"new\" are understood".to_owned()),
        }
    }

    fn each(
        &mut self,
        read: impl Fn(&str) -> Result<Vec<FwExpr>, String>,
    ) -> Result<Vec<Vec<FwExpr>>, String> {
        self.members()?.iter().map(|member| read(member)).collect()
    }

    /// The members of a set, with braces or without.
    fn members(&mut self) -> Result<Vec<String>, String> {
        let is_set = self.takes("{");
        let mut members = vec![self.next()?];
        while self.takes(",") {
            members.push(self.next()?);
        }
        if is_set {
            self.expect("}")?;
        }
        match members.iter().find(|member| ["{", "}", ",", "!="].contains(&member.as_str())) {
            Some(sign) => Err(format!("{sign:?} is not understood here")),
            None => Ok(members),
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        let next = self.next()?;
        if next == word { Ok(()) } else { Err(format!("{next:?} is not understood here, want {word:?}")) }
    }
}

fn unquoted(name: &str) -> Result<String, String> {
    let bare = name.trim_matches('"');
    let is_name = !bare.is_empty() && bare.len() < 16 && !bare.contains(['"', '/']);
    if is_name { Ok(bare.to_owned()) } else { Err(format!("{name} is no interface name")) }
}

fn network(word: &str, family: Family) -> Result<IpNet, String> {
    let net = word.parse::<IpNet>().ok().or_else(|| word.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
    let net = net.filter(|net| Family::of(net.addr()) == family);
    net.map(|net| net.trunc()).ok_or_else(|| format!("{word:?} is no {family} network"))
}

fn protocol(word: &str) -> Result<u8, String> {
    match word {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        "icmp" => Ok(1),
        "icmpv6" | "ipv6-icmp" => Ok(58),
        number => number.parse().map_err(|_| format!("{number:?} is no protocol that is understood here")),
    }
}

fn range<T: Copy + PartialOrd>(
    word: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<RangeInclusive<T>, String> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let ends = read(first).zip(read(last)).filter(|(first, last)| first <= last);
    ends.map(|(first, last)| first..=last).ok_or_else(|| format!("{word:?} is neither a number nor a range"))
}

/// Types by the names that `nft` has for them.
const ICMP: [(&str, u8); 8] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
];
const ICMPV6: [(&str, u8); 14] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
];

fn icmp(protocol: &str, word: &str) -> Result<Vec<FwExpr>, String> {
    let named = |names: &[(&str, u8)]| {
        names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number..=*number)
    };
    let is_v4 = protocol == "icmp";
    let types = match if is_v4 { named(&ICMP) } else { named(&ICMPV6) } {
        Some(one) => one,
        None => range(word, |number| number.parse::<u8>().ok())
            .map_err(|_| format!("{word:?} is no type of {protocol} that is understood here"))?,
    };
    let (first, last) = (*types.start(), *types.end());
    Ok(vec![if is_v4 { FwExpr::IcmpTypes { first, last } } else { FwExpr::Icmpv6Types { first, last } }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Vec<FwExpr>> {
        CustomRules::parse(text).unwrap().0
    }

    fn accept(exprs: Vec<FwExpr>) -> Vec<FwExpr> {
        [exprs, vec![FwExpr::Verdict(FwVerdict::Accept)]].concat()
    }

    #[test]
    fn lines_become_rules_and_sets_become_several() {
        let text = "# DHCP and ping\n\n udp dport { 67, 546-547 } accept\nicmp type echo-request accept # all of it\n";
        let ports = |first, last| accept(vec![FwExpr::Protocol(17), FwExpr::DstPorts { first, last }]);
        let ping = accept(vec![FwExpr::IcmpTypes { first: 8, last: 8 }]);
        assert_eq!(read(text), [ports(67, 67), ports(546, 547), ping]);
        let known = accept(vec![FwExpr::KnownConnection]);
        assert_eq!(
            read("ct state established,related accept\nct state { related, established } accept"),
            [known.clone(), known]
        );
    }

    #[test]
    fn matches_stand_side_by_side() {
        let rule = read(
            r#"iifname "net1" ip saddr 10.1.2.3/16 ip6 daddr != fd00::/8 icmpv6 type 1-4 meta l4proto tcp drop"#,
        );
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let expected = vec![
            FwExpr::Iif("net1".into()),
            FwExpr::Src { net: net("10.1.0.0/16"), not: false },
            FwExpr::Dst { net: net("fd00::/8"), not: true },
            FwExpr::Icmpv6Types { first: 1, last: 4 },
            FwExpr::Protocol(6),
            FwExpr::Verdict(FwVerdict::Drop),
        ];
        assert_eq!(rule, [expected]);
        assert_eq!(read("ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport { 1, 2 } accept").len(), 4);
        assert_eq!(read("accept"), [accept(vec![])]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (line, word) in [
            ("tcp dport 22", "ends"),
            ("tcp sport 22 accept", "sport"),
            ("tcp dport ssh accept", "ssh"),
            ("tcp dport 9-8 accept", "9-8"),
            ("tcp dport { 22 accept", "accept"),
            ("tcp dport { 22, } accept", "}"),
            ("tcp dport != 22 accept", "!="),
            ("ip saddr fd00::1 accept", "fd00::1"),
            ("ip saddr @good accept", "@good"),
            ("ct state invalid drop", "ct state"),
            ("counter accept", "counter"),
            ("tcp dport 22 reject", "reject"),
            ("accept drop", "last word"),
            ("-p tcp --dport 22 -j ACCEPT", "-p"),
            ("icmp type pigeon accept", "pigeon"),
            ("iifname /etc accept", "/etc"),
        ] {
            let why = CustomRules::parse(&format!("accept\n{line}")).unwrap_err();
            assert!(why.line == 2 && why.to_string().contains(word), "{line}: {why}");
        }
    }
}
