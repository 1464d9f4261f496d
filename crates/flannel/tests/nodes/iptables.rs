//! Beside iptables, and after an upstream daemon that used it.

use std::process::Command;

use polynic_kernel::testing::say_skipped;

use crate::site::{Site, SiteNode, VXLAN};

/// What an upstream daemon makes, and a chain of somebody else's.
const BEFORE: &[&str] = &[
    "-P FORWARD DROP",
    "-N FLANNEL-FWD",
    "-A FORWARD -j FLANNEL-FWD",
    "-A FLANNEL-FWD -s 10.233.0.0/16 -j ACCEPT",
    "-A FLANNEL-FWD -d 10.233.0.0/16 -j ACCEPT",
    "-N MINE",
    "-A FORWARD -j MINE",
    "-t nat -N FLANNEL-POSTRTG",
    "-t nat -A POSTROUTING -j FLANNEL-POSTRTG",
    "-t nat -A FLANNEL-POSTRTG -s 10.233.9.0/24 -d 10.233.0.0/16 -j RETURN",
];

/// Runs iptables on a node; nothing if it cannot be had here.
fn iptables(node: &SiteNode, arguments: &str) -> Option<String> {
    let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let run = move || Command::new("iptables-nft").args(words).output();
    match node.netns.run(run).unwrap() {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).unwrap()),
        Ok(output) => {
            say_skipped(&String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(why) => {
            say_skipped(&format!("iptables-nft: {why}"));
            None
        }
    }
}

#[test]
fn an_upstream_daemons_chains_go_and_our_accept_counts_where_theirs_did() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    for line in BEFORE {
        let Some(_) = iptables(&a, line) else { return };
    }
    assert!(a.must_pass(&site, &[]).made > 0);
    let (filter, nat) = (iptables(&a, "-S").unwrap(), iptables(&a, "-t nat -S").unwrap());
    let forward: Vec<&str> = filter.lines().filter(|line| line.starts_with("-A")).collect();
    let comment = |way: &str| format!("-m comment --comment \"flanneld forward {way} 10.233.0.0/16\"");
    let ours = [("-s", "from"), ("-d", "to")]
        .map(|(end, way)| format!("-A FORWARD {end} 10.233.0.0/16 {} -j ACCEPT", comment(way)));
    assert_eq!(forward, ["-A FORWARD -j MINE", &ours[0], &ours[1]], "{filter}");
    assert!(filter.contains("-P FORWARD DROP\n") && !filter.contains("FLANNEL"), "{filter}");
    assert!(!nat.contains("FLANNEL"), "{nat}");
    // The next process finds all as it should be, and puts back what somebody flushes.
    a.restart(&site);
    assert_eq!(a.must_pass(&site, &[]).made, 0);
    iptables(&a, "-F FORWARD").unwrap();
    (0..2).for_each(|_| drop(a.must_pass(&site, &[])));
    assert_eq!(iptables(&a, "-S FORWARD").unwrap().matches("flanneld forward").count(), 2);
}

#[test]
fn nothing_is_made_of_iptables_where_it_is_not() {
    let Some(site) = Site::new(VXLAN) else { return };
    let mut a = site.node(1);
    a.must_pass(&site, &[]);
    let mut needs = polynic_net::Needs::default();
    needs.host.firewall.push(polynic_net::FwTable::new(polynic_net::FwFamily::Ip, "filter"));
    use polynic_kernel::Kernel as _;
    assert_eq!(a.kernel.observe(&needs).unwrap().host.firewall, []);
}
