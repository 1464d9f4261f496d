//! What is in a namespace, as `ip` and `nft` print it: a sorted list of lines, fit for comparing.
//!
//! Left out is what the kernel does on its own time or by chance: indexes, MACs, link-local addresses, the local table.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};

use polynic_kernel::netns::Netns;
use serde_json::Value;

use crate::mask::mask;

mod lines;

/// Settings of each link that plugins touch.
const SETTINGS: [&str; 11] = [
    "ipv4/conf/{}/arp_notify",
    "ipv4/conf/{}/proxy_arp",
    "ipv4/conf/{}/rp_filter",
    "ipv4/neigh/{}/proxy_delay",
    "ipv6/conf/{}/accept_dad",
    "ipv6/conf/{}/accept_ra",
    "ipv6/conf/{}/disable_ipv6",
    "ipv6/conf/{}/enhanced_dad",
    "ipv6/conf/{}/keep_addr_on_down",
    "ipv6/conf/{}/ndisc_notify",
    "ipv6/conf/{}/proxy_ndp",
];

/// A namespace's state, one line for each object: `link …`, `addr …`, `route …`, `rule …`, `nft …`, `qdisc …`, `sysctl …`.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    lines: Vec<String>,
    links: Vec<(String, String)>,
}

impl State {
    /// Looks at a namespace.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn observe<P: 'static>(netns: &Netns<P>) -> Self {
        netns.run(Self::observe_here).unwrap()
    }

    fn observe_here() -> Self {
        let links = ip(&["-d", "address", "show"]);
        let mut lines: Vec<String> = links.iter().flat_map(lines::of_link).collect();
        lines.extend(ip(&["route", "show", "table", "all"]).iter().filter_map(lines::of_route));
        let families = ["-4", "-6"].into_iter().filter(|family| *family == "-4" || crate::has_ipv6());
        for family in families {
            lines.extend(ip(&[family, "rule", "show"]).iter().map(|r| lines::of_rule(family, r)));
        }
        lines.extend(ruleset());
        lines.extend(queues());
        let text = |link: &Value, key: &str| link[key].as_str().unwrap_or_default().to_owned();
        let links: Vec<_> = links.iter().map(|l| (text(l, "ifname"), text(l, "address"))).collect();
        lines.extend(links.iter().flat_map(|(name, _)| settings(name)));
        lines.extend(["ipv4/ip_forward", "ipv6/conf/all/forwarding"].iter().filter_map(|s| setting(s)));
        let mut lines: Vec<String> = lines.iter().map(|line| mask(line, "")).collect();
        lines.sort();
        Self { lines, links }
    }

    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether there is exactly this line.
    pub fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|l| l == line)
    }

    /// The lines that start so.
    pub fn starting(&self, start: &str) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|l| l.starts_with(start)).collect()
    }

    /// The MAC of a link; empty if there is none of that name.
    pub fn mac(&self, link: &str) -> &str {
        self.links.iter().find(|(name, _)| name == link).map_or("", |(_, mac)| mac)
    }

    /// The names of all links but `lo`.
    pub fn link_names(&self) -> Vec<&str> {
        self.links.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "lo").collect()
    }

    /// The state without the lines that name any of these words.
    pub fn without(&self, words: &[&str]) -> Self {
        let named = |line: &String| words.iter().any(|word| line.contains(word));
        Self {
            lines: self.lines.iter().filter(|l| !named(l)).cloned().collect(),
            links: self.links.iter().filter(|(name, _)| !words.contains(&name.as_str())).cloned().collect(),
        }
    }

    /// The lines that only one of the two has, each with `+` (only here) or `-` (only there).
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let only = |a: &Self, b: &Self, sign: char| {
            let mut rest = b.lines.clone();
            let mut only = Vec::new();
            for line in &a.lines {
                match rest.iter().position(|l| l == line) {
                    Some(at) => drop(rest.swap_remove(at)),
                    None => only.push(format!("{sign}{line}")),
                }
            }
            only
        };
        [only(self, other, '+'), only(other, self, '-')].concat()
    }

    /// Fails the test unless the state is the same as another, earlier one.
    ///
    /// # Panics
    /// It is not.
    pub fn assert_same(&self, earlier: &Self, when: &str) {
        let diff = self.diff(earlier);
        assert!(diff.is_empty(), "{when}: the state differs from before:\n{}", diff.join("\n"));
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

fn ip(args: &[&str]) -> Vec<Value> {
    let output = Command::new("ip").arg("-j").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    match output.stdout.is_empty() {
        true => Vec::new(),
        false => serde_json::from_slice(&output.stdout).unwrap(),
    }
}

/// Without `nft` the rules remain unseen; what they do to packets is tested anyway.
fn ruleset() -> Vec<String> {
    let output = Command::new("nft").args(["-s", "list", "ruleset"]).stderr(Stdio::null()).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let mut at: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line {
            "}" => drop(at.pop()),
            _ => {
                lines.push(format!("nft {}", [at.join(" "), line.to_owned()].join(" ")));
                if let Some(head) = line.strip_suffix('{') {
                    at.push(head.trim().to_owned());
                }
            }
        }
    }
    lines
}

/// Queueing disciplines that somebody made: those of the kernel have the handle `0:`. Without `tc` they remain unseen. So do the queues of ours
/// behind a bucket: not every kernel has them, and they come and go with the bucket.
fn queues() -> Vec<String> {
    let output = Command::new("tc").args(["qdisc", "show"]).stderr(Stdio::null()).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let made = text.lines().filter(|line| line.split(' ').nth(2).is_some_and(|handle| handle != "0:"));
    let made = made.filter(|line| !line.starts_with("qdisc fq_codel 2: "));
    made.map(|line| without_references(line.trim())).collect()
}

/// How many queues of a link hold a discipline is the machine's business.
fn without_references(line: &str) -> String {
    let mut words = line.split(' ');
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "refcnt" => drop(words.next()),
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

fn settings(link: &str) -> Vec<String> {
    SETTINGS.iter().filter_map(|path| setting(&path.replace("{}", link))).collect()
}

/// /proc/sys/net is that of the reading thread's namespace.
fn setting(path: &str) -> Option<String> {
    let value = fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
    Some(format!("sysctl {path}={}", value.trim()))
}
